//! `#[sandmill::aggregate]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ImplItem, ImplItemFn, ItemImpl, Result, Type};

use crate::exports::{export, reads};
use crate::line::{Line, strict};
use crate::options::Options;
use crate::signature::{self, arguments, output};

/// A function of an `impl`.
pub fn method<'a>(item: &'a ItemImpl, name: &str) -> Option<&'a ImplItemFn> {
    item.items.iter().find_map(|item| match item {
        ImplItem::Fn(method) if method.sig.ident == name => Some(method),
        _ => None,
    })
}

/// A function that an `impl` must have.
pub fn needed<'a>(item: &'a ItemImpl, name: &str) -> Result<&'a ImplItemFn> {
    method(item, name)
        .ok_or_else(|| Error::new_spanned(&item.self_ty, format!("it needs `fn {name}`")))
}

/// The name of the type that an `impl` is of.
pub fn ident(item: &ItemImpl) -> Result<&syn::Ident> {
    let ident = match &*item.self_ty {
        Type::Path(path) => path.path.segments.last().map(|s| &s.ident),
        _ => None,
    };
    ident.ok_or_else(|| Error::new_spanned(&item.self_ty, "expected the name of a struct"))
}

pub fn expand(item: &ItemImpl, options: &Options) -> Result<TokenStream> {
    let sql = signature::name(ident(item)?, options)?;
    let (state, doc) = (&*item.self_ty, signature::doc(&item.attrs));
    let update = &needed(item, "update")?.sig;
    needed(item, "merge")?;
    let result = output(&needed(item, "finish")?.sig)?;
    let retract = method(item, "retract");
    let arguments = arguments(update)?;
    let mut line = Line::function(&sql, "aggregate", &doc, options, &arguments)?;
    line.returns(&result);
    line.record("state", state);
    if retract.is_some() {
        line.text(",\"retract\":true");
    }
    let (line, strict) = (line.finish(), strict(&arguments, options));
    let (columns, values) = reads(&arguments);
    let count = arguments.len();
    let rows = |method: TokenStream| {
        quote! {
            const STRICT: bool = #strict;
            let rows = rows as usize;
            let arrays = glue::Arrays::new(args, #count);
            #columns
            HANDLES.get(handle).each::<STRICT>(&arrays, rows, group_ids, groups as usize, |state, row| {
                glue::Outcome::check(<#state>::#method(state, #(#values),*), 0, Some(row));
            });
            0
        }
    };
    let many: &[_] = &[
        ("handle", "i32"),
        ("args", "in"),
        ("rows", "u32"),
        ("group_ids", "numbers"),
        ("groups", "u32"),
    ];
    let range: &[_] = &[
        ("handle", "i32"),
        ("first", "u32"),
        ("count", "u32"),
        ("out", "out"),
    ];
    let mut exports = vec![
        export(
            "sm_agg_new.",
            &sql,
            &[],
            &quote!(HANDLES.open(glue::Groups::new())),
        ),
        export("sm_agg_update.", &sql, many, &rows(quote!(update))),
        export(
            "sm_agg_merge.",
            &sql,
            many,
            &quote! {
                let columns = <#state as glue::Fields>::columns(args);
                let arrays = glue::Arrays::new(args, 0);
                HANDLES.get(handle).each::<false>(&arrays, rows as usize, group_ids, groups as usize, |state, row| {
                    let other = <#state as glue::Fields>::read(&columns, row);
                    glue::Outcome::check(<#state>::merge(state, other), 0, Some(row));
                });
                0
            },
        ),
        export(
            "sm_agg_state.",
            &sql,
            range,
            &quote!(HANDLES.get(handle).state(first as usize, count as usize, out); 0),
        ),
        export(
            "sm_agg_finish.",
            &sql,
            range,
            &quote! {
                let groups = HANDLES.get(handle);
                groups.finish::<#result>(first as usize, count as usize, out, |state| <#state>::finish(state));
                0
            },
        ),
        export(
            "sm_agg_drop.",
            &sql,
            &[("handle", "i32"), ("count", "u32")],
            &quote!(HANDLES.get(handle).drop_first(count as usize); 0),
        ),
        export(
            "sm_agg_size.",
            &sql,
            &[("handle", "i32")],
            &quote!(HANDLES.get(handle).size()),
        ),
        export(
            "sm_agg_close.",
            &sql,
            &[("handle", "i32")],
            &quote!(HANDLES.close(handle)),
        ),
    ];
    if retract.is_some() {
        exports.push(export(
            "sm_agg_retract.",
            &sql,
            many,
            &rows(quote!(retract)),
        ));
    }
    Ok(quote! {
        #line
        const _: () = {
            #[cfg(target_arch = "wasm32")]
            static HANDLES: ::sandmill::glue::Handles<::sandmill::glue::Groups<#state>> =
                ::sandmill::glue::Handles::new();
            #(#exports)*
        };
    })
}
