//! The attribute `#[sandmill::udf]` and the macro `sandmill::package!`.

mod signature;

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{ItemFn, parse_macro_input};

use signature::{Function, Options};

/// Names the package; once in each crate. Takes name and version from `Cargo.toml`.
#[proc_macro]
pub fn package(input: TokenStream) -> TokenStream {
    if !input.is_empty() {
        return quote!(compile_error!("sandmill::package!() takes nothing")).into();
    }
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let line = format!(
        "{{\"package\":{{\"abi\":\"1.0\",\"name\":{},\"version\":{},\"language\":\"rust\",\"sdk\":\"sandmill-rust 0.1.0\"}}}}\n",
        signature::json(&variable("CARGO_PKG_NAME")),
        signature::json(&variable("CARGO_PKG_VERSION")),
    );
    manifest(&line).into()
}

/// A line of the manifest, in a custom section that the linker gathers.
fn manifest(line: &str) -> proc_macro2::TokenStream {
    let length = line.len();
    let bytes = proc_macro2::Literal::byte_string(line.as_bytes());
    quote! {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "sandmill.manifest")]
            static MANIFEST: [u8; #length] = *#bytes;
        };
    }
}

/// Makes a function usable in SQL. The function itself stays as it is.
///
/// Options: `name = "sql_name"`, `volatility = "immutable" | "stable" | "volatile"`,
/// `zone = "UTC"` (of all timestamps), `example = "SELECT …"`, `columns` (the function sees whole
/// columns: slices in, and a mutable slice for the result as last argument).
#[proc_macro_attribute]
pub fn udf(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(attribute as Options);
    let item = parse_macro_input!(item as ItemFn);
    match Function::new(&item, &options) {
        Ok(function) => {
            let glue = glue(&function, &item);
            quote!(#item #glue).into()
        }
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#item #error).into()
        }
    }
}

fn glue(function: &Function, item: &ItemFn) -> proc_macro2::TokenStream {
    let line = manifest(&function.manifest());
    let export = format!("sm_scalar.{}", function.name);
    let name = &item.sig.ident;
    let count = function.arguments.len();
    let columns: Vec<_> = (0..count).map(|n| format_ident!("column{n}")).collect();
    let types: Vec<_> = function.arguments.iter().map(|a| &a.ty).collect();
    let indices: Vec<_> = (0..count).collect();
    let body = if function.columns {
        let output = &function.output;
        quote! {
            #(let #columns = <#types as ::sandmill::glue::Slice>::read(arrays.at(#indices), #indices, rows);)*
            let output = ::sandmill::glue::slice::<#output>(rows);
            #name(#(#columns,)* output);
            ::sandmill::glue::finish_slice::<#output>(out, rows)
        }
    } else {
        let output = &function.output;
        let strict = function.strict;
        quote! {
            #(let #columns = <#types as ::sandmill::glue::Argument>::column(arrays.at(#indices), #indices, rows);)*
            let _ = &arrays;
            ::sandmill::glue::rows::<#output, #strict>(
                out,
                rows,
                &arrays,
                |row| #name(#(<#types as ::sandmill::glue::Argument>::get(&#columns, row)),*),
            )
        }
    };
    quote! {
        #line
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[unsafe(export_name = #export)]
            extern "C" fn call(
                args: *const ::sandmill::glue::ArrowArray,
                rows: u32,
                out: *mut ::sandmill::glue::ArrowArray,
            ) -> i32 {
                let rows = rows as usize;
                // SAFETY: the host calls this export with what the ABI promises: one array for each
                // argument of the manifest, and room for the result.
                #[allow(unused_unsafe)]
                unsafe {
                    let arrays = ::sandmill::glue::Arrays::new(args, #count);
                    #body
                }
                0
            }
        };
    }
}
