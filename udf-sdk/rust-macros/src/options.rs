//! The options of the attributes.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitInt, LitStr, Meta, Result, Token};

/// The options of an attribute.
#[derive(Default)]
pub struct Options {
    /// Name in SQL.
    pub name: Option<String>,
    /// What the planner may assume.
    pub volatility: Option<String>,
    /// Time zone of all timestamps.
    pub zone: String,
    /// SQL examples.
    pub examples: Vec<String>,
    /// Whether the function sees whole columns.
    pub columns: bool,
    /// Names of the columns of a result.
    pub names: Vec<String>,
    /// Literals for arguments that are left out.
    pub defaults: Vec<(String, String)>,
    /// How the result follows arguments.
    pub monotonic: Vec<(String, String)>,
    /// Whether a window function computes over frames.
    pub frame: bool,
    /// Whether NULL in any argument gives NULL, where the types of the arguments do not say it.
    pub strict: Option<bool>,
    /// What an aggregate may take.
    pub state_bytes: Option<u64>,
}

/// `a = "1", b = "2"`.
struct Pairs(Vec<(String, String)>);

impl Parse for Pairs {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut pairs = Vec::new();
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            let value: LitStr = input.parse()?;
            pairs.push((plain(&name), value.value()));
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(Self(pairs))
    }
}

/// A name as SQL knows it.
pub fn plain(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
}

fn list(meta: &Meta) -> Result<TokenStream> {
    match meta {
        Meta::List(list) => Ok(list.tokens.clone()),
        other => Err(Error::new_spanned(other, "expected a list in parentheses")),
    }
}

fn text(meta: &Meta) -> Result<String> {
    match meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Ok(text.value()),
            other => Err(Error::new_spanned(other, "expected a text")),
        },
        other => Err(Error::new_spanned(other, "expected = and a text")),
    }
}

fn number(meta: &Meta) -> Result<u64> {
    match meta {
        Meta::NameValue(pair) => {
            syn::parse2::<LitInt>(pair.value.to_token_stream())?.base10_parse()
        }
        other => Err(Error::new_spanned(other, "expected = and a number")),
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        for meta in Punctuated::<Meta, Token![,]>::parse_terminated(input)? {
            match meta.path().to_token_stream().to_string().as_str() {
                "columns" if matches!(meta, Meta::Path(_)) => options.columns = true,
                "columns" => {
                    type Names = Punctuated<Ident, Token![,]>;
                    let names = syn::parse::Parser::parse2(Names::parse_terminated, list(&meta)?)?;
                    options.names = names.iter().map(plain).collect();
                }
                "frame" => options.frame = true,
                "strict" => options.strict = Some(true),
                "called_on_null" => options.strict = Some(false),
                "state_bytes" => options.state_bytes = Some(number(&meta)?),
                "default" => options
                    .defaults
                    .extend(syn::parse2::<Pairs>(list(&meta)?)?.0),
                "monotonic" => {
                    let pairs = syn::parse2::<Pairs>(list(&meta)?)?.0;
                    if pairs
                        .iter()
                        .any(|(_, how)| how != "increasing" && how != "decreasing")
                    {
                        let message = "monotonic is increasing or decreasing";
                        return Err(Error::new_spanned(meta, message));
                    }
                    options.monotonic.extend(pairs);
                }
                "name" => options.name = Some(text(&meta)?),
                "zone" => options.zone = text(&meta)?,
                "example" => options.examples.push(text(&meta)?),
                "volatility" => {
                    let value = text(&meta)?;
                    if !["immutable", "stable", "volatile"].contains(&value.as_str()) {
                        let message = "volatility is immutable, stable or volatile";
                        return Err(Error::new_spanned(meta, message));
                    }
                    options.volatility = Some(value);
                }
                _ => {
                    let message = "there are the options name, volatility, zone, example, columns, default, \
                                   monotonic, frame, strict, called_on_null and state_bytes";
                    return Err(Error::new_spanned(meta, message));
                }
            }
        }
        Ok(options)
    }
}
