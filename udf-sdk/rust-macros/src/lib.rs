//! The attributes of the crate `sandmill`, and its macro `package!`.

mod aggregate;
mod exports;
mod line;
mod maps;
mod options;
mod record;
mod scalar;
mod signature;
mod table;
mod window;

use proc_macro::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::Parse;
use syn::{DeriveInput, ItemFn, ItemImpl, parse_macro_input};

use options::Options;

/// Names the package; once in each crate. Takes name and version from `Cargo.toml`.
///
/// `package!(http = ["GET,POST api.example.org:80"])` names the places that its functions call over
/// HTTP: methods, host and port.
#[proc_macro]
pub fn package(input: TokenStream) -> TokenStream {
    let places = parse_macro_input!(input as line::Places);
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    line::package(
        &variable("CARGO_PKG_NAME"),
        &variable("CARGO_PKG_VERSION"),
        &places,
    )
    .into()
}

/// The item as it is, with what makes it usable in SQL, or what is wrong with it.
fn attribute<I: Parse + ToTokens>(
    attribute: TokenStream,
    item: TokenStream,
    expand: impl FnOnce(&I, &Options) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    let options = parse_macro_input!(attribute as Options);
    let item = parse_macro_input!(item as I);
    let glue = expand(&item, &options).unwrap_or_else(|error| error.to_compile_error());
    quote!(#item #glue).into()
}

/// Makes a function usable in SQL. The function itself stays as it is.
///
/// Options: `name = "sql_name"`, `volatility = "immutable" | "stable" | "volatile"`,
/// `zone = "UTC"` (of all timestamps), `example = "SELECT …"`, `default(b = "1")` (SQL literals for the
/// last arguments), `monotonic(a = "increasing")`, `strict` and `called_on_null` (instead of what
/// `Option` in the arguments says), `columns` (the function sees whole columns: slices in, and a mutable
/// slice for the result as last argument).
#[proc_macro_attribute]
pub fn udf(options: TokenStream, item: TokenStream) -> TokenStream {
    attribute::<ItemFn>(options, item, scalar::expand)
}

/// Makes the struct of an `impl` an aggregate: it is the state of a group, with `Default`, `Clone` and
/// `Record`. The `impl` has `update(&mut self, …)`, `merge(&mut self, other: Self)`,
/// `finish(&self) -> R` and may have `retract(&mut self, …)`.
#[proc_macro_attribute]
pub fn aggregate(options: TokenStream, item: TokenStream) -> TokenStream {
    attribute::<ItemImpl>(options, item, aggregate::expand)
}

/// Makes a function of columns, `&[T]` or `Column<'_, T>`, a window function: it gives a value for each
/// row of the partition, or with `frame` one for its last argument, `frame: Range<usize>`.
#[proc_macro_attribute]
pub fn window(options: TokenStream, item: TokenStream) -> TokenStream {
    attribute::<ItemFn>(options, item, window::expand)
}

/// Makes a function that returns `impl Iterator<Item = T>` or `Vec<T>` a table function. `T` is a
/// `Record`, or `columns(a, b)` names the parts of a tuple.
#[proc_macro_attribute]
pub fn table(options: TokenStream, item: TokenStream) -> TokenStream {
    attribute::<ItemFn>(options, item, table::expand)
}

/// Makes the struct of an `impl` a map of batches: `new(constants…)`,
/// `push(&mut self, batch: Batch<'_, T>, out: &mut Rows<R>)`, and `finish(&mut self, out: &mut Rows<R>)`
/// if something is left at the end.
#[proc_macro_attribute]
pub fn map(options: TokenStream, item: TokenStream) -> TokenStream {
    attribute::<ItemImpl>(options, item, maps::map)
}

/// Makes a function of a group, `(group: Group<'_, T>, constants…, out: &mut Rows<R>)`, a map of groups.
#[proc_macro_attribute]
pub fn grouped_map(options: TokenStream, item: TokenStream) -> TokenStream {
    attribute::<ItemFn>(options, item, |item, options| {
        maps::grouped(item, options, false)
    })
}

/// As `grouped_map`, with two groups of the same key.
#[proc_macro_attribute]
pub fn cogrouped_map(options: TokenStream, item: TokenStream) -> TokenStream {
    attribute::<ItemFn>(options, item, |item, options| {
        maps::grouped(item, options, true)
    })
}

/// Makes a struct with named fields a type of SQL: a STRUCT, or the columns of a table or state.
#[proc_macro_derive(Record)]
pub fn record(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    record::expand(&item)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
