use clap::{Args, Subcommand, ValueEnum};
use sandmill_api_types::{Table as TableBody, TableFormat};

use super::fault::Fault;
use super::output::{self, Output};
use super::session::{Listing, Named, Target};

#[derive(Subcommand)]
pub(crate) enum Table {
    /// Register a table.
    Add(Add),
    /// List tables.
    List(Listing),
    /// Show a table and its columns.
    Show(Named),
    /// Forget a table; its files stay.
    Delete(Named),
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Parquet,
    Csv,
    Json,
}

#[derive(Args)]
pub(crate) struct Add {
    /// Name in SQL.
    name: String,
    /// A file, or a folder of files, on the server.
    path: String,
    /// Format; by default what the path's ending says.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Replace a table of this name.
    #[arg(long)]
    replace: bool,
    #[arg(short, long, value_parser = output::one(), default_value = "table")]
    output: Output,
    #[command(flatten)]
    target: Target,
}

impl Table {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Add(add) => {
                let session = add.target.open().await?;
                let format = add.format.map(|format| match format {
                    Format::Parquet => TableFormat::Parquet,
                    Format::Csv => TableFormat::Csv,
                    Format::Json => TableFormat::Json,
                });
                let table = session.table(&add.name, &add.path, format, add.replace)?;
                let table = session.client.table_create(&table).await?;
                if add.output == Output::Json {
                    return output::json(&table);
                }
                println!(
                    "{} has {} columns, {} bytes",
                    table.name,
                    table.columns.len(),
                    table.bytes
                );
            }
            Self::List(list) => {
                let tables = list.target.open().await?.client.table_list().await?;
                let row = |t: &TableBody| {
                    vec![
                        t.name.clone(),
                        t.columns.len().to_string(),
                        t.bytes.to_string(),
                        t.path.clone(),
                    ]
                };
                let rows = tables.items.iter().map(row).collect();
                output::list(
                    list.output,
                    &tables,
                    &["name", "columns", "bytes", "path"],
                    &[false, true, true],
                    rows,
                )?;
            }
            Self::Show(one) => {
                let table = one
                    .target
                    .open()
                    .await?
                    .client
                    .table_view(&one.name)
                    .await?;
                if one.output == Output::Json {
                    return output::json(&table);
                }
                println!("{}  {}", table.name, table.path);
                let null = |nullable| if nullable { "yes" } else { "no" }.to_owned();
                let rows = table
                    .columns
                    .into_iter()
                    .map(|c| vec![c.name, c.sql_type, null(c.nullable)])
                    .collect();
                println!("{}", output::grid(&["column", "type", "null"], &[], rows));
            }
            Self::Delete(one) => {
                one.target
                    .open()
                    .await?
                    .client
                    .table_delete(&one.name)
                    .await?;
                println!("{} is forgotten", one.name);
            }
        }
        Ok(())
    }
}
