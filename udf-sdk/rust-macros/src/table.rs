//! `#[sandmill::table]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, Result, Type, parse_quote};

use crate::exports::{export, reads};
use crate::line::{Line, strict};
use crate::options::Options;
use crate::signature::{self, arguments, many, output};

pub fn expand(item: &ItemFn, options: &Options) -> Result<TokenStream> {
    let signature = &item.sig;
    let sql = signature::name(&signature.ident, options)?;
    let (name, doc) = (&signature.ident, signature::doc(&item.attrs));
    let arguments = arguments(signature)?;
    let mut line = Line::function(&sql, "table", &doc, options, &arguments)?;
    let many = many(&output(signature)?)?;
    let mut row = many.item.clone();
    let mut wrap = quote!(item);
    if options.names.is_empty() {
        line.record("columns", &row);
    } else {
        let types: Vec<Type> = match &row {
            Type::Tuple(tuple) => tuple.elems.iter().cloned().collect(),
            other => {
                wrap = quote!((item,));
                vec![other.clone()]
            }
        };
        if types.len() != options.names.len() {
            let message = format!(
                "it gives {} columns, `columns` names {}",
                types.len(),
                options.names.len()
            );
            return Err(Error::new_spanned(&row, message));
        }
        let columns: Vec<_> = options
            .names
            .iter()
            .cloned()
            .zip(types.iter().cloned())
            .collect();
        line.columns("columns", &columns);
        row = parse_quote!((#(#types,)*));
    }
    let (line, strict) = (line.finish(), strict(&arguments, options));
    let (columns, values) = reads(&arguments);
    let count = arguments.len();
    let mut call = quote!(#name(#(#values),*));
    if many.fails {
        call = quote!(glue::value(#call, Some(row)));
    }
    let item = match many.item_fails {
        true => quote!(let item = glue::value(item, Some(row));),
        false => quote!(),
    };
    let handle = ("handle", "i32");
    let exports = [
        export(
            "sm_open.",
            &sql,
            &[("args", "in"), ("count", "u32")],
            &quote!(let _ = (args, count); STREAMS.open(glue::Stream::new())),
        ),
        export(
            "sm_push.",
            &sql,
            &[handle, ("columns", "in"), ("rows", "u32")],
            &quote!(STREAMS.get(handle).push(columns, rows as usize); 0),
        ),
        export(
            "sm_pull.",
            &sql,
            &[handle, ("out", "out")],
            &quote! {
                const STRICT: bool = #strict;
                let stream = STREAMS.get(handle);
                let (args, rows) = stream.arguments();
                if args.is_null() && #count > 0 {
                    return stream.idle();
                }
                let arrays = glue::Arrays::new(args, #count);
                let _ = &arrays;
                #columns
                glue::pull::<_, <#row as glue::Row>::Builder>(
                    stream,
                    #count,
                    STRICT,
                    out,
                    |row| ::core::iter::IntoIterator::into_iter(#call),
                    |item, columns, row| {
                        let _ = row;
                        #item
                        glue::Row::push(#wrap, columns);
                    },
                )
            },
        ),
        export(
            "sm_finish.",
            &sql,
            &[handle],
            &quote!(STREAMS.get(handle).finish(); 0),
        ),
        export("sm_close.", &sql, &[handle], &quote!(STREAMS.close(handle))),
    ];
    Ok(quote! {
        #line
        const _: () = {
            #[cfg(target_arch = "wasm32")]
            static STREAMS: ::sandmill::glue::Streams<::sandmill::glue::Stream> =
                ::sandmill::glue::Streams::new();
            #(#exports)*
        };
    })
}
