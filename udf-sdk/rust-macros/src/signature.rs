//! What a function's signature says of its SQL types.

use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Error, Expr, ExprLit, FnArg, GenericArgument, ItemFn, Lit, Meta, Pat, PathArguments, Result,
    ReturnType, Token, Type,
};

/// The options of `#[udf(…)]`.
#[derive(Default)]
pub struct Options {
    name: Option<String>,
    volatility: Option<String>,
    zone: String,
    examples: Vec<String>,
    columns: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        for meta in Punctuated::<Meta, Token![,]>::parse_terminated(input)? {
            let name = meta.path().to_token_stream().to_string();
            let text = |meta: &Meta| match meta {
                Meta::NameValue(pair) => match &pair.value {
                    Expr::Lit(ExprLit {
                        lit: Lit::Str(text),
                        ..
                    }) => Ok(text.value()),
                    other => Err(Error::new_spanned(other, "expected a text")),
                },
                other => Err(Error::new_spanned(other, "expected = and a text")),
            };
            match name.as_str() {
                "columns" => options.columns = true,
                "name" => options.name = Some(text(&meta)?),
                "zone" => options.zone = text(&meta)?,
                "example" => options.examples.push(text(&meta)?),
                "volatility" => {
                    let value = text(&meta)?;
                    if !["immutable", "stable", "volatile"].contains(&value.as_str()) {
                        return Err(Error::new_spanned(
                            meta,
                            "volatility is immutable, stable or volatile",
                        ));
                    }
                    options.volatility = Some(value);
                }
                _ => {
                    let message =
                        "there are the options name, volatility, zone, example and columns";
                    return Err(Error::new_spanned(meta, message));
                }
            }
        }
        Ok(options)
    }
}

/// One argument.
pub struct Argument {
    name: String,
    format: String,
    /// As the glue's traits know it: lifetimes left out.
    pub ty: Type,
}

/// A function as SQL sees it.
pub struct Function {
    /// Name in SQL.
    pub name: String,
    /// Arguments in order.
    pub arguments: Vec<Argument>,
    /// Type of the result: the return type or, with `columns`, the element of the last slice.
    pub output: Type,
    /// Whether it sees whole columns.
    pub columns: bool,
    /// Whether NULL in any argument gives NULL.
    pub strict: bool,
    returns: String,
    nullable: bool,
    volatility: String,
    doc: String,
    examples: Vec<String>,
}

impl Function {
    /// Reads a function.
    pub fn new(item: &ItemFn, options: &Options) -> Result<Self> {
        let signature = &item.sig;
        for (wrong, what) in [
            (signature.asyncness.is_some(), "async"),
            (signature.generics.type_params().next().is_some(), "generic"),
            (matches!(signature.safety, syn::Safety::Unsafe(_)), "unsafe"),
        ] {
            if wrong {
                return Err(Error::new_spanned(
                    signature,
                    format!("a function for SQL cannot be {what}"),
                ));
            }
        }
        let name = options
            .name
            .clone()
            .unwrap_or_else(|| signature.ident.to_string());
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !name.bytes().all(legal) || name.len() > 63 {
            return Err(Error::new_spanned(
                &signature.ident,
                "the name in SQL has lower-case letters, digits and `_`; choose one with name = \"…\"",
            ));
        }
        let mut inputs = Vec::new();
        for input in &signature.inputs {
            let FnArg::Typed(input) = input else {
                return Err(Error::new_spanned(input, "a function for SQL has no self"));
            };
            let Pat::Ident(pattern) = &*input.pat else {
                return Err(Error::new_spanned(&input.pat, "an argument needs a name"));
            };
            inputs.push((pattern.ident.to_string(), (*input.ty).clone()));
        }
        let mut function = Self {
            name,
            arguments: Vec::new(),
            output: Type::Verbatim(Default::default()),
            columns: options.columns,
            strict: true,
            returns: String::new(),
            nullable: false,
            volatility: options
                .volatility
                .clone()
                .unwrap_or_else(|| "immutable".into()),
            doc: doc(item),
            examples: options.examples.clone(),
        };
        if options.columns {
            let last = inputs.pop().and_then(|(_, ty)| element(&ty, true));
            function.output = last.ok_or_else(|| {
                Error::new_spanned(
                    signature,
                    "with `columns` the last argument is the result: out: &mut [T]",
                )
            })?;
            for (name, ty) in inputs {
                let element = element(&ty, false).ok_or_else(|| {
                    Error::new_spanned(&ty, "with `columns` an argument is a slice: &[T]")
                })?;
                let format = format(&element, &options.zone)?;
                function.arguments.push(Argument {
                    name,
                    format,
                    ty: element,
                });
            }
        } else {
            for (name, ty) in inputs {
                let inner = argument_of(&ty, "Option");
                // One argument that may be NULL makes the function see NULL everywhere.
                function.strict &= inner.is_none();
                let format = format(inner.as_ref().unwrap_or(&ty), &options.zone)?;
                function.arguments.push(Argument {
                    name,
                    format,
                    ty: without_lifetimes(ty),
                });
            }
            let ReturnType::Type(_, ty) = &signature.output else {
                return Err(Error::new_spanned(
                    signature,
                    "a function for SQL returns something",
                ));
            };
            function.output = without_lifetimes((**ty).clone());
        }
        let mut value = function.output.clone();
        if let Some(inner) = argument_of(&value, "Result") {
            value = inner;
        }
        if let Some(inner) = argument_of(&value, "Option") {
            value = inner;
            function.nullable = true;
        }
        function.returns = format(&value, &options.zone)?;
        Ok(function)
    }

    /// Its line of the manifest.
    pub fn manifest(&self) -> String {
        let argument = |a: &Argument| {
            format!(
                "{{\"name\":{},\"type\":{}}}",
                json(&a.name),
                json(&a.format)
            )
        };
        let arguments: Vec<_> = self.arguments.iter().map(argument).collect();
        let examples: Vec<_> = self.examples.iter().map(|e| json(e)).collect();
        format!(
            "{{\"function\":{{\"name\":{},\"kind\":\"scalar\",\"arguments\":[{}],\"returns\":{},\"nullable\":{},\"strict\":{},\"volatility\":{},\"doc\":{},\"examples\":[{}]}}}}\n",
            json(&self.name),
            arguments.join(","),
            json(&self.returns),
            self.nullable,
            self.strict,
            json(&self.volatility),
            json(&self.doc),
            examples.join(","),
        )
    }
}

/// A text in JSON.
pub fn json(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            c if c.is_control() => json.push_str(&format!("\\u{:04x}", c as u32)),
            c => json.push(c),
        }
    }
    json + "\""
}

fn doc(item: &ItemFn) -> String {
    let lines = item
        .attrs
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
    lines
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// `T` of `Wrapper<T, …>`.
fn argument_of(ty: &Type, wrapper: &str) -> Option<Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|s| s.ident == wrapper)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(inner) => Some(inner.clone()),
        _ => None,
    }
}

/// `T` of `&[T]` or `&mut [T]`.
fn element(ty: &Type, mutable: bool) -> Option<Type> {
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

fn without_lifetimes(mut ty: Type) -> Type {
    if let Type::Reference(reference) = &mut ty {
        reference.lifetime = None;
    }
    ty
}

/// The Arrow format string of a Rust type.
fn format(ty: &Type, zone: &str) -> Result<String> {
    let text = without_lifetimes(ty.clone())
        .to_token_stream()
        .to_string()
        .replace(' ', "");
    let bare = text
        .rsplit_once("sandmill::")
        .map_or(text.as_str(), |(_, bare)| bare);
    let simple = match bare {
        "bool" => "b",
        "i8" => "c",
        "u8" => "C",
        "i16" => "s",
        "u16" => "S",
        "i32" => "i",
        "u32" => "I",
        "i64" => "l",
        "u64" => "L",
        "f32" => "f",
        "f64" => "g",
        "&str" | "String" => "u",
        "&[u8]" | "Vec<u8>" => "z",
        "Date" => "tdD",
        _ => "",
    };
    if !simple.is_empty() {
        return Ok(simple.into());
    }
    let units = [
        ("Seconds", "tss:"),
        ("Millis", "tsm:"),
        ("Micros", "tsu:"),
        ("Nanos", "tsn:"),
    ];
    if let Some(unit) = bare
        .strip_prefix("Timestamp<")
        .and_then(|rest| rest.strip_suffix('>'))
    {
        let unit = unit.rsplit("::").next().unwrap_or(unit);
        if let Some((_, format)) = units.iter().find(|(name, _)| *name == unit) {
            return Ok(format!("{format}{zone}"));
        }
    }
    if let Some(digits) = bare
        .strip_prefix("Decimal<")
        .and_then(|rest| rest.strip_suffix('>'))
        && let Some((precision, scale)) = digits.split_once(',')
        && precision.parse::<u8>().is_ok_and(|p| (1..=38).contains(&p))
        && scale.parse::<u8>().is_ok()
    {
        return Ok(format!("d:{precision},{scale}"));
    }
    let message = format!(
        "`{text}` is no type for SQL; there are bool, i8 to i64, u8 to u64, f32, f64, &str, String, &[u8], \
         Vec<u8>, Date, Timestamp<Seconds | Millis | Micros | Nanos>, Decimal<P, S>, and Option and Result of them"
    );
    Err(Error::new_spanned(ty, message))
}
