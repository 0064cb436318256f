//! `#[sandmill::udf]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, Result};

use crate::exports::{export, reads};
use crate::line::{Line, strict};
use crate::options::Options;
use crate::signature::{self, arguments, element, inside, output};

pub fn expand(item: &ItemFn, options: &Options) -> Result<TokenStream> {
    let signature = &item.sig;
    let sql = signature::name(&signature.ident, options)?;
    let mut arguments = arguments(signature)?;
    let name = &signature.ident;
    let doc = signature::doc(&item.attrs);
    if options.columns {
        let last = arguments.pop().and_then(|last| element(&last.ty, true));
        let Some(output) = last else {
            let message = "with `columns` the last argument is the result: out: &mut [T]";
            return Err(Error::new_spanned(signature, message));
        };
        for argument in &mut arguments {
            argument.ty = element(&argument.ty, false).ok_or_else(|| {
                let message = "with `columns` an argument is a slice: &[T]";
                Error::new_spanned(&argument.ty, message)
            })?;
        }
        let mut line = Line::function(&sql, "scalar", &doc, options, &arguments)?;
        line.returns(&output);
        let line = line.finish();
        let types = arguments.iter().map(|a| &a.ty);
        let (count, indices) = (arguments.len(), 0..arguments.len());
        let body = quote! {
            let rows = rows as usize;
            let arrays = glue::Arrays::new(args, #count);
            let _ = &arrays;
            let output = glue::slice::<#output>(rows);
            #name(#(<#types as glue::Slice>::read(arrays.at(#indices), #indices, rows),)* output);
            glue::finish_slice::<#output>(out, rows);
            0
        };
        let export = export("sm_scalar.", &sql, SCALAR, &body);
        return Ok(quote!(#line #export));
    }
    let output = output(signature)?;
    let last = arguments
        .last()
        .and_then(|last| inside(&last.ty, &["Variadic"]));
    let many = last.is_some();
    if let (Some(last), Some(inner)) = (arguments.last_mut(), last) {
        last.ty = inner;
    }
    let mut line = Line::function(&sql, "scalar", &doc, options, &arguments)?;
    if many {
        line.text(",\"variadic\":true");
    }
    line.returns(&output);
    let (line, strict) = (line.finish(), strict(&arguments, options));
    let fixed = &arguments[..arguments.len() - usize::from(many)];
    let (columns, values) = reads(fixed);
    let first = fixed.len();
    let (prefix, parameters, count, rest) = match arguments.last() {
        Some(last) if many => {
            let ty = &last.ty;
            let rest = quote!(::sandmill::Variadic::<#ty>::over(args.add(#first), count as usize - #first, row));
            ("sm_variadic.", VARIADIC, quote!(count as usize), rest)
        }
        _ => ("sm_scalar.", SCALAR, quote!(#first), quote!()),
    };
    let body = quote! {
        const STRICT: bool = #strict;
        let rows = rows as usize;
        let arrays = glue::Arrays::new(args, #count);
        #columns
        let _ = &arrays;
        glue::rows::<#output, STRICT>(out, rows, &arrays, |row| #name(#(#values,)* #rest));
        0
    };
    let export = export(prefix, &sql, parameters, &body);
    Ok(quote!(#line #export))
}

const SCALAR: &[(&str, &str)] = &[("args", "in"), ("rows", "u32"), ("out", "out")];
const VARIADIC: &[(&str, &str)] = &[
    ("args", "in"),
    ("count", "u32"),
    ("rows", "u32"),
    ("out", "out"),
];
