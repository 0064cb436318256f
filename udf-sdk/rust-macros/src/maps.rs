//! `#[sandmill::map]`, `#[sandmill::grouped_map]` and `#[sandmill::cogrouped_map]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, ItemImpl, Result, ReturnType, Signature};

use crate::aggregate::{ident, method, needed};
use crate::exports::{constants, export};
use crate::line::Line;
use crate::options::Options;
use crate::signature::{self, Argument, arguments, inside, inside_mut};

fn rows_of(argument: Option<Argument>, signature: &Signature) -> Result<syn::Type> {
    argument
        .and_then(|a| inside_mut(&a.ty, "Rows"))
        .ok_or_else(|| {
            Error::new_spanned(
                signature,
                "the last argument takes the rows: out: &mut Rows<T>",
            )
        })
}

/// A stream of batches into a stream of batches.
pub fn map(item: &ItemImpl, options: &Options) -> Result<TokenStream> {
    let sql = signature::name(ident(item)?, options)?;
    let (map, doc) = (&*item.self_ty, signature::doc(&item.attrs));
    let new = method(item, "new");
    let given = new.map_or(Ok(Vec::new()), |new| arguments(&new.sig))?;
    let push = &needed(item, "push")?.sig;
    let mut pushed = arguments(push)?;
    let out = rows_of(pushed.pop(), push)?;
    let input = pushed.pop().and_then(|a| inside(&a.ty, &["Batch"]));
    let input = input.ok_or_else(|| {
        Error::new_spanned(
            push,
            "it takes a batch and gives rows: batch: Batch<'_, T>, out: &mut Rows<R>",
        )
    })?;
    let mut line = Line::function(&sql, "map", &doc, options, &given)?;
    line.record("input", &input);
    line.record("columns", &out);
    let line = line.finish();
    let (setup, values) = constants(&given);
    let begin = match new {
        None => quote!(<#map as ::core::default::Default>::default()),
        Some(new) => {
            let fails = match &new.sig.output {
                ReturnType::Type(_, ty) => inside(ty, &["Result"]).is_some(),
                ReturnType::Default => false,
            };
            match fails {
                true => quote!(glue::value(<#map>::new(#(#values),*), None)),
                false => quote!(<#map>::new(#(#values),*)),
            }
        }
    };
    let finish = match method(item, "finish") {
        Some(_) => quote!(glue::Outcome::check(<#map>::finish(map, out), 0, None)),
        None => quote!(let _ = (map, out)),
    };
    let handle = ("handle", "i32");
    let exports = [
        export(
            "sm_open.",
            &sql,
            &[("args", "in"), ("count", "u32")],
            &quote!(let _ = count; #setup STREAMS.open(glue::Mapping::new(#begin))),
        ),
        export(
            "sm_push.",
            &sql,
            &[handle, ("columns", "in"), ("rows", "u32")],
            &quote! {
                STREAMS.get(handle).step(false, |map, out| {
                    let batch = glue::batch::<#input>(columns, rows as usize);
                    glue::Outcome::check(<#map>::push(map, batch, out), 0, None);
                });
                0
            },
        ),
        export(
            "sm_pull.",
            &sql,
            &[handle, ("out", "out")],
            &quote!(STREAMS.get(handle).pull(out)),
        ),
        export(
            "sm_finish.",
            &sql,
            &[handle],
            &quote!(STREAMS.get(handle).step(true, |map, out| { #finish; }); 0),
        ),
        export("sm_close.", &sql, &[handle], &quote!(STREAMS.close(handle))),
    ];
    Ok(quote! {
        #line
        const _: () = {
            #[cfg(target_arch = "wasm32")]
            static STREAMS: ::sandmill::glue::Streams<::sandmill::glue::Mapping<#map, #out>> =
                ::sandmill::glue::Streams::new();
            #(#exports)*
        };
    })
}

/// Groups, or with `pairs` pairs of groups, into rows.
pub fn grouped(item: &ItemFn, options: &Options, pairs: bool) -> Result<TokenStream> {
    let signature = &item.sig;
    let sql = signature::name(&signature.ident, options)?;
    let (name, doc) = (&signature.ident, signature::doc(&item.attrs));
    let mut given = arguments(signature)?;
    let out = rows_of(given.pop(), signature)?;
    let groups: Vec<_> = given
        .drain(..given.len().min(1 + usize::from(pairs)))
        .collect();
    let inputs: Option<Vec<_>> = groups
        .iter()
        .map(|a| inside(&a.ty, &["Group", "Batch"]))
        .collect();
    let kind = if pairs {
        "cogrouped_map"
    } else {
        "grouped_map"
    };
    let mut line = Line::function(&sql, kind, &doc, options, &given)?;
    line.record("columns", &out);
    let (setup, values) = constants(&given);
    let (prefix, parameters, body): (_, &[_], _) = match inputs.as_deref() {
        Some([input]) if !pairs => {
            line.record("input", input);
            let parameters = &[
                ("args", "in"),
                ("columns", "in"),
                ("rows", "u32"),
                ("offsets", "numbers"),
                ("groups", "u32"),
                ("out", "out"),
            ];
            let body = quote! {
                let _ = rows;
                glue::groups::<#out>(groups as usize, out, |n, out| {
                    #setup
                    let group = glue::group::<#input>(columns, offsets, n);
                    let first = *offsets.add(n) as usize;
                    glue::Outcome::check(#name(group, #(#values,)* out), first, None);
                });
                0
            };
            ("sm_group.", parameters, body)
        }
        Some([left, right]) if pairs => {
            line.record("input", left);
            line.record("right", right);
            let parameters = &[
                ("args", "in"),
                ("left", "in"),
                ("left_offsets", "numbers"),
                ("right", "in"),
                ("right_offsets", "numbers"),
                ("groups", "u32"),
                ("out", "out"),
            ];
            let body = quote! {
                glue::groups::<#out>(groups as usize, out, |n, out| {
                    #setup
                    let left = glue::group::<#left>(left, left_offsets, n);
                    let right = glue::group::<#right>(right, right_offsets, n);
                    glue::Outcome::check(#name(left, right, #(#values,)* out), 0, None);
                });
                0
            };
            ("sm_cogroup.", parameters, body)
        }
        _ => {
            let message = match pairs {
                true => {
                    "the first arguments are the groups: left: Group<'_, A>, right: Group<'_, B>"
                }
                false => "the first argument is the group: group: Group<'_, T>",
            };
            return Err(Error::new_spanned(signature, message));
        }
    };
    let (line, export) = (line.finish(), export(prefix, &sql, parameters, &body));
    Ok(quote!(#line #export))
}
