//! A function's line of the manifest, in pieces that the compiler puts together.

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, LitStr, Result, Token, Type, bracketed};

use crate::options::Options;
use crate::signature::Argument;

/// A line that grows.
pub struct Line {
    pieces: Vec<TokenStream>,
    zone: String,
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

impl Line {
    /// Begins the line of a function, with all but its types.
    pub fn function(
        name: &str,
        kind: &str,
        doc: &str,
        options: &Options,
        arguments: &[Argument],
    ) -> Result<Self> {
        let known = |(name, _): &&(String, String)| !arguments.iter().any(|a| a.name == *name);
        if let Some((name, _)) = options
            .defaults
            .iter()
            .chain(&options.monotonic)
            .find(known)
        {
            let message = format!("there is no argument `{name}`");
            return Err(Error::new(proc_macro2::Span::call_site(), message));
        }
        let mut line = Self {
            pieces: Vec::new(),
            zone: options.zone.clone(),
        };
        let examples: Vec<_> = options.examples.iter().map(|e| json(e)).collect();
        line.text(&format!(
            "{{\"function\":{{\"name\":{},\"kind\":\"{kind}\",\"volatility\":\"{}\",\"doc\":{},\"examples\":[{}]",
            json(name),
            options.volatility.as_deref().unwrap_or("immutable"),
            json(doc),
            examples.join(","),
        ));
        line.text(",\"arguments\":[");
        for (n, argument) in arguments.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            line.text(&format!("{comma}{{\"name\":{},", json(&argument.name)));
            let ty = &argument.ty;
            line.pieces
                .push(quote!(Piece::Type(<#ty as SqlType>::TYPE)));
            let find = |pairs: &[(String, String)]| {
                let pair = pairs.iter().find(|(name, _)| *name == argument.name);
                pair.map(|(_, value)| json(value))
            };
            if let Some(default) = find(&options.defaults) {
                line.text(&format!(",\"default\":{default}"));
            }
            if let Some(how) = find(&options.monotonic) {
                line.text(&format!(",\"monotonic\":{how}"));
            }
            line.text("}");
        }
        line.text("]");
        line.pieces.push(quote!(Piece::Text(",\"strict\":")));
        let strict = strict(arguments, options);
        line.pieces.push(quote!(Piece::Flag(#strict)));
        if let Some(bytes) = options.state_bytes {
            line.text(&format!(",\"state_bytes\":{bytes}"));
        }
        Ok(line)
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) {
        self.pieces.push(quote!(Piece::Text(#text)));
    }

    /// Adds the type of a result.
    pub fn returns(&mut self, ty: &Type) {
        self.text(",\"returns\":");
        self.pieces
            .push(quote!(Piece::Returns(<#ty as SqlType>::TYPE)));
        self.text(",\"nullable\":");
        self.pieces
            .push(quote!(Piece::Flag(<#ty as SqlType>::NULLABLE)));
    }

    /// Adds the columns of a struct.
    pub fn record(&mut self, what: &str, ty: &Type) {
        self.text(&format!(",\"{what}\":["));
        self.pieces
            .push(quote!(Piece::Columns(<#ty as Record>::COLUMNS)));
        self.text("]");
    }

    /// Adds columns with names.
    pub fn columns(&mut self, what: &str, columns: &[(String, Type)]) {
        self.text(&format!(",\"{what}\":["));
        let fields = columns
            .iter()
            .map(|(name, ty)| quote!(::sandmill::manifest::Field::of::<#ty>(#name)));
        self.pieces.push(quote!(Piece::Columns(&[#(#fields),*])));
        self.text("]");
    }

    /// The whole line as an item.
    pub fn finish(mut self) -> TokenStream {
        self.text("}}\n");
        let (pieces, zone) = (&self.pieces, &self.zone);
        quote! {
            const _: () = {
                #[allow(unused_imports)]
                use ::sandmill::manifest::{Piece, Record, SqlType, write};
                const PIECES: &[Piece] = &[#(#pieces),*];
                const LENGTH: usize = write(PIECES, #zone, &mut []);
                #[allow(dead_code)]
                #[cfg_attr(target_arch = "wasm32", used)]
                #[cfg_attr(target_arch = "wasm32", unsafe(link_section = "sandmill.manifest"))]
                static MANIFEST: [u8; LENGTH] = {
                    let mut bytes = [0; LENGTH];
                    write(PIECES, #zone, &mut bytes);
                    bytes
                };
            };
        }
    }
}

/// Whether NULL in any argument gives NULL: where no argument can hold it.
pub fn strict(arguments: &[Argument], options: &Options) -> TokenStream {
    if let Some(strict) = options.strict {
        return quote!(#strict);
    }
    let types = arguments.iter().map(|a| &a.ty);
    quote!(!(false #(|| <#types as ::sandmill::manifest::SqlType>::NULLABLE)*))
}

/// Places that a package names: JSON of the manifest's `capabilities.http`, empty when there are none.
pub struct Places(String);

impl Parse for Places {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self(String::new()));
        }
        let name: Ident = input.parse()?;
        if name != "http" {
            return Err(Error::new(name.span(), "only `http = […]` is known"));
        }
        input.parse::<Token![=]>()?;
        let list;
        bracketed!(list in input);
        let mut places = Vec::new();
        for text in Punctuated::<LitStr, Token![,]>::parse_terminated(&list)? {
            let wrong = || Error::new(text.span(), "write \"GET,POST host:port\"");
            let value = text.value();
            let (methods, place) = value.split_once(' ').ok_or_else(wrong)?;
            let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
            let port: u16 = port.parse().map_err(|_| wrong())?;
            let methods: Vec<_> = methods.split(',').map(json).collect();
            places.push(format!(
                "{{\"host\":{},\"port\":{port},\"methods\":[{}]}}",
                json(host),
                methods.join(",")
            ));
        }
        input.parse::<Option<Token![,]>>()?;
        Ok(Self(places.join(",")))
    }
}

/// The line of the package.
pub fn package(name: &str, version: &str, places: &Places) -> TokenStream {
    let capabilities = match places.0.as_str() {
        "" => String::new(),
        places => format!(",\"capabilities\":{{\"http\":[{places}]}}"),
    };
    let line = format!(
        "{{\"package\":{{\"abi\":\"1.1\",\"name\":{},\"version\":{},\"language\":\"rust\",\"sdk\":\"sandmill-rust 0.1.0\"{capabilities}}}}}\n",
        json(name),
        json(version),
    );
    let (length, bytes) = (line.len(), Literal::byte_string(line.as_bytes()));
    quote! {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "sandmill.manifest")]
            static MANIFEST: [u8; #length] = *#bytes;
        };
    }
}
