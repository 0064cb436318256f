//! What all kinds' exports share.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::signature::Argument;

/// An export: parameters are names and what they are, `in` for arrays that the host passes, `out` for
/// arrays that it asks for, or a Rust type. The body gives a number, if anything.
pub fn export(
    prefix: &str,
    name: &str,
    parameters: &[(&str, &str)],
    body: &TokenStream,
) -> TokenStream {
    let symbol = format!("{prefix}{name}");
    let parameters = parameters.iter().map(|(name, what)| {
        let name = format_ident!("{name}");
        match *what {
            "in" => quote!(#name: *const glue::ArrowArray),
            "out" => quote!(#name: *mut glue::ArrowArray),
            "numbers" => quote!(#name: *const u32),
            "pairs" => quote!(#name: *const [u32; 2]),
            other => {
                let ty = format_ident!("{other}");
                quote!(#name: #ty)
            }
        }
    });
    let result = match prefix {
        "sm_close." | "sm_agg_close." => quote!(),
        "sm_agg_size." => quote!(-> i64),
        _ => quote!(-> i32),
    };
    quote! {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[allow(unused_imports)]
            use ::sandmill::glue;
            #[unsafe(export_name = #symbol)]
            extern "C" fn call(#(#parameters),*) #result {
                // SAFETY: the host calls this export with what the ABI promises: one array for each
                // argument or column of the manifest, and room for the results.
                #[allow(unused_unsafe)]
                unsafe { #body }
            }
        };
    }
}

/// Statements that look at the arguments of `arrays`, and the values of a `row`.
pub fn reads(arguments: &[Argument]) -> (TokenStream, Vec<TokenStream>) {
    let columns = arguments.iter().enumerate().map(|(n, argument)| {
        let (column, ty) = (format_ident!("column{n}"), &argument.ty);
        quote!(let #column = <#ty as glue::Argument>::column(arrays.at(#n), #n, rows);)
    });
    let values = arguments.iter().enumerate().map(|(n, argument)| {
        let (column, ty) = (format_ident!("column{n}"), &argument.ty);
        quote!(<#ty as glue::Argument>::get(&#column, row))
    });
    (quote!(#(#columns)*), values.collect())
}

/// The values of constant arguments at `args`.
pub fn constants(arguments: &[Argument]) -> (TokenStream, Vec<TokenStream>) {
    let count = arguments.len();
    let (columns, values) = reads(arguments);
    let setup = quote! {
        let (rows, row) = (1, 0);
        let arrays = glue::Arrays::new(args, #count);
        let _ = (rows, row, &arrays);
        #columns
    };
    (setup, values)
}
