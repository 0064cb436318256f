//! `#[sandmill::window]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, Result};

use crate::exports::export;
use crate::line::Line;
use crate::options::Options;
use crate::signature::{self, arguments, element, inside, many, output};

pub fn expand(item: &ItemFn, options: &Options) -> Result<TokenStream> {
    let signature = &item.sig;
    let sql = signature::name(&signature.ident, options)?;
    let (name, doc) = (&signature.ident, signature::doc(&item.attrs));
    let mut arguments = arguments(signature)?;
    if options.frame
        && arguments
            .pop()
            .is_none_or(|last| inside(&last.ty, &["Range"]).is_none())
    {
        let message = "with `frame` the last argument is the frame: frame: Range<usize>";
        return Err(Error::new_spanned(signature, message));
    }
    let mut seen = Vec::new();
    for argument in &mut arguments {
        seen.push(argument.ty.clone());
        let inner =
            element(&argument.ty, false).or_else(|| inside(&argument.ty, &["Column", "List"]));
        argument.ty = inner.ok_or_else(|| {
            Error::new_spanned(
                &argument.ty,
                "a window function sees columns: &[T] or Column<'_, T>",
            )
        })?;
    }
    let mut line = Line::function(&sql, "window", &doc, options, &arguments)?;
    let returns = output(signature)?;
    let (count, indices) = (arguments.len(), 0..arguments.len());
    let columns = quote! {
        let length = rows as usize;
        let arrays = glue::Arrays::new(args, #count);
        let _ = &arrays;
    };
    let values =
        quote!(#(<#seen as glue::Partition>::partition(arrays.at(#indices), #indices, length)),*);
    let body = if options.frame {
        line.text(",\"frame\":true");
        line.returns(&returns);
        let names: Vec<_> = (0..count)
            .map(|n| quote::format_ident!("column{n}"))
            .collect();
        let each = 0..count;
        quote! {
            #columns
            #(let #names = <#seen as glue::Partition>::partition(arrays.at(#each), #each, length);)*
            glue::frames::<#returns>(out, count as usize, ranges, |frame| #name(#(#names,)* frame));
            0
        }
    } else {
        let many = many(&returns)?;
        let item = &many.item;
        line.returns(item);
        let mut call = quote!(#name(#values));
        if many.fails {
            call = quote!(glue::value(#call, None));
        }
        quote! {
            #columns
            let _ = ranges;
            glue::partition(out, count as usize, #call);
            0
        }
    };
    let parameters = [
        ("args", "in"),
        ("rows", "u32"),
        ("ranges", "pairs"),
        ("count", "u32"),
        ("out", "out"),
    ];
    let (line, export) = (
        line.finish(),
        export("sm_window.", &sql, &parameters, &body),
    );
    Ok(quote!(#line #export))
}
