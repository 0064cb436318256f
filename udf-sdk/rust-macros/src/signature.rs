//! What signatures say.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericArgument, Ident, Lit, Meta, Pat, PathArguments,
    Result, ReturnType, Signature, Type, TypeParamBound,
};

use crate::options::{Options, plain};

/// One argument.
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its type, with lifetimes that the compiler finds out.
    pub ty: Type,
}

/// The arguments but `self`, of a function that SQL can call.
pub fn arguments(signature: &Signature) -> Result<Vec<Argument>> {
    for (wrong, what) in [
        (signature.asyncness.is_some(), "async"),
        (signature.generics.type_params().next().is_some(), "generic"),
        (matches!(signature.safety, syn::Safety::Unsafe(_)), "unsafe"),
    ] {
        if wrong {
            let message = format!("a function for SQL cannot be {what}");
            return Err(Error::new_spanned(signature, message));
        }
    }
    let mut arguments = Vec::new();
    for input in &signature.inputs {
        if let FnArg::Typed(input) = input {
            let Pat::Ident(pattern) = &*input.pat else {
                return Err(Error::new_spanned(&input.pat, "an argument needs a name"));
            };
            // `_name` says that it is not used.
            let name = plain(&pattern.ident);
            arguments.push(Argument {
                name: name.trim_start_matches('_').to_owned(),
                ty: anonymous(&input.ty)?,
            });
        }
    }
    Ok(arguments)
}

/// The type of the result.
pub fn output(signature: &Signature) -> Result<Type> {
    match &signature.output {
        ReturnType::Type(_, ty) => anonymous(ty),
        ReturnType::Default => Err(Error::new_spanned(
            signature,
            "a function for SQL returns something",
        )),
    }
}

/// The name in SQL.
pub fn name(ident: &Ident, options: &Options) -> Result<String> {
    let name = options.name.clone().unwrap_or_else(|| snake(&plain(ident)));
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !name.bytes().all(legal) || name.len() > 63 {
        let message =
            "the name in SQL has lower-case letters, digits and `_`; choose one with name = \"…\"";
        return Err(Error::new_spanned(ident, message));
    }
    Ok(name)
}

/// `GeoMean` is `geo_mean`.
fn snake(name: &str) -> String {
    if name.starts_with(|c: char| c.is_lowercase()) {
        return name.to_owned();
    }
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// The first paragraph of the documentation.
pub fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        });
    let lines: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// The type with `'_` for every lifetime.
fn anonymous(ty: &Type) -> Result<Type> {
    fn walk(tokens: TokenStream) -> TokenStream {
        let mut out = TokenStream::new();
        let mut tokens = tokens.into_iter();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '\'' => {
                    tokens.next();
                    out.extend(quote!('_));
                }
                TokenTree::Group(group) if group.delimiter() != Delimiter::None => {
                    let inside = walk(group.stream());
                    out.extend([TokenTree::from(Group::new(group.delimiter(), inside))]);
                }
                TokenTree::Group(group) => out.extend(walk(group.stream())),
                other => out.extend([other]),
            }
        }
        out
    }
    syn::parse2(walk(ty.to_token_stream()))
}

/// The type argument of `Wrapper<'_, T, …>`.
pub fn inside(ty: &Type, wrappers: &[&str]) -> Option<Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    wrappers.iter().find(|w| last.ident == **w)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(inner) => Some(inner.clone()),
        _ => None,
    })
}

/// `T` of `&[T]` or `&mut [T]`.
pub fn element(ty: &Type, mutable: bool) -> Option<Type> {
    match ty {
        Type::Reference(reference) if reference.mutability.is_some() == mutable => {
            match &*reference.elem {
                Type::Slice(slice) => Some((*slice.elem).clone()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// `T` of `&mut Wrapper<T>`.
pub fn inside_mut(ty: &Type, wrapper: &str) -> Option<Type> {
    match ty {
        Type::Reference(reference) if reference.mutability.is_some() => {
            inside(&reference.elem, &[wrapper])
        }
        _ => None,
    }
}

/// What a function that gives many values gives.
pub struct Many {
    /// The type of each, without `Result`.
    pub item: Type,
    /// Whether each is a `Result`.
    pub item_fails: bool,
    /// Whether the function as a whole returns a `Result`.
    pub fails: bool,
}

/// Reads `impl Iterator<Item = T>` or `Vec<T>`, and results of them.
pub fn many(ty: &Type) -> Result<Many> {
    let whole = inside(ty, &["Result"]);
    let fails = whole.is_some();
    let ty = whole.as_ref().unwrap_or(ty);
    let item = inside(ty, &["Vec"]).or_else(|| match ty {
        Type::ImplTrait(bounds) => bounds.bounds.iter().find_map(|bound| {
            let TypeParamBound::Trait(bound) = bound else {
                return None;
            };
            let last = bound.path.segments.last()?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::AssocType(item) if item.ident == "Item" => Some(item.ty.clone()),
                _ => None,
            })
        }),
        _ => None,
    });
    let Some(item) = item else {
        let message = "it returns Vec<T> or impl Iterator<Item = T>, or a Result of one";
        return Err(Error::new_spanned(ty, message));
    };
    let inner = inside(&item, &["Result"]);
    Ok(Many {
        item_fails: inner.is_some(),
        item: inner.unwrap_or(item),
        fails,
    })
}
