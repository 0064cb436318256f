//! `#[derive(sandmill::Record)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result};

use crate::options::plain;

pub fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let fields = match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if !fields.named.is_empty() => &fields.named,
            _ => {
                return Err(Error::new_spanned(
                    &item.ident,
                    "a record has fields with names",
                ));
            }
        },
        _ => return Err(Error::new_spanned(&item.ident, "a record is a struct")),
    };
    if item.generics.type_params().next().is_some() || item.generics.const_params().next().is_some()
    {
        return Err(Error::new_spanned(
            &item.generics,
            "a record has no types as parameters",
        ));
    }
    let name = &item.ident;
    let (generics, parameters, _) = item.generics.split_for_impl();
    let bare: TokenStream = item.generics.params.iter().map(|p| quote!(#p,)).collect();
    let idents: Vec<_> = fields.iter().filter_map(|f| f.ident.as_ref()).collect();
    let names: Vec<_> = idents.iter().map(|i| plain(i)).collect();
    let types: Vec<_> = fields.iter().map(|f| &f.ty).collect();
    let indices: Vec<_> = (0..types.len()).collect();
    // A pair of the first and the others, whose others are such a pair, and so on.
    let paths: Vec<_> = indices
        .iter()
        .map(|n| (0..*n).fold(quote!(), |path, _| quote!(#path .1)))
        .map(|path| quote!(#path .0))
        .collect();
    let nested = |parts: Vec<TokenStream>| {
        parts
            .into_iter()
            .rev()
            .fold(quote!(()), |rest, part| quote!((#part, #rest)))
    };
    let builder = nested(
        types
            .iter()
            .map(|t| quote!(<#t as glue::Store>::Builder))
            .collect(),
    );
    let columns = nested(
        types
            .iter()
            .map(|t| quote!(<#t as glue::Argument>::Column))
            .collect(),
    );
    let fields_of = |address: TokenStream| {
        let parts = types.iter().zip(&indices);
        nested(
            parts
                .map(|(t, n)| quote!(glue::field::<#t>(#address(#n))))
                .collect(),
        )
    };
    let (inside, beside) = (fields_of(quote!(child)), fields_of(quote!(first.add)));
    Ok(quote! {
        impl #generics ::sandmill::manifest::Record for #name #parameters {
            const COLUMNS: &'static [::sandmill::manifest::Field] =
                &[#(::sandmill::manifest::Field::of::<#types>(#names)),*];
        }
        impl #generics ::sandmill::manifest::SqlType for #name #parameters {
            const TYPE: ::sandmill::manifest::Type = ::sandmill::manifest::Type {
                format: ::sandmill::manifest::Format::Plain("+s"),
                children: <Self as ::sandmill::manifest::Record>::COLUMNS,
            };
        }
        impl #generics ::sandmill::manifest::Element for #name #parameters {}
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use ::sandmill::glue;
            impl #generics glue::Row for #name #parameters {
                type Builder = #builder;
                #[inline(always)]
                fn push(self, builder: &mut Self::Builder) {
                    #(glue::Store::store(self.#idents, &mut builder #paths);)*
                }
            }
            impl #generics glue::Store for #name #parameters {
                type Builder = glue::Structs<<Self as glue::Row>::Builder>;
                const HEAP: bool = false #(|| <#types as glue::Store>::HEAP)*;
                #[inline(always)]
                fn heap(&self) -> usize {
                    0 #(+ glue::Store::heap(&self.#idents))*
                }
                fn store(self, builder: &mut Self::Builder) {
                    builder.push(self);
                }
            }
            impl #generics glue::Fields for #name #parameters {
                type Columns = #columns;
                unsafe fn inside(children: *const *const glue::ArrowArray) -> Self::Columns {
                    // SAFETY: the caller promises a child for each field.
                    unsafe {
                        let child = |n| *children.add(n);
                        #inside
                    }
                }
                unsafe fn columns(first: *const glue::ArrowArray) -> Self::Columns {
                    // SAFETY: the caller promises an array for each field.
                    unsafe { #beside }
                }
                #[inline(always)]
                fn read(columns: &Self::Columns, row: usize) -> Self {
                    Self { #(#idents: <#types as glue::Argument>::get(&columns #paths, row)),* }
                }
            }
            impl #generics glue::Argument for #name #parameters {
                type Column = glue::Inside<<Self as glue::Fields>::Columns>;
                fn column(array: &glue::ArrowArray, _: usize, _: usize) -> Self::Column {
                    glue::Inside::of::<Self>(array)
                }
                #[inline(always)]
                fn get(column: &Self::Column, row: usize) -> Self {
                    <Self as glue::Fields>::read(&column.columns, column.at(row))
                }
            }
            ::sandmill::kept_value!(#name #parameters, [#bare]);
        };
    })
}
