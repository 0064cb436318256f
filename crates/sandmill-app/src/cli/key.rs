use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use sandmill_api_types::{NewSigningKey, SigningKey, SigningPolicy};
use sandmill_signing::{PrivateKey, PublicKey, Signature, module_digest};

use super::fault::Fault;
use super::output::{self, Output};
use super::session::{Listing, Target};

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Make a key: FILE is private, FILE.pub is for the server.
    Generate(Generate),
    /// Sign a module: writes MODULE.sig.
    Sign(Sign),
    /// Check the signature of a module on this machine.
    Verify(Verify),
    /// Let the server trust a public key.
    Trust(Trust),
    /// List the keys that the server trusts or trusted.
    List(Listing),
    /// End the trust in a key.
    Revoke(Revoke),
    /// Show or say whether the server takes signed modules only.
    Require(Require),
}

#[derive(Args)]
pub(crate) struct Generate {
    /// Where the private key goes, a PEM file that only you can read.
    file: PathBuf,
}

#[derive(Args)]
pub(crate) struct Sign {
    /// The module.
    module: PathBuf,
    /// The private key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the signature goes; by default MODULE.sig.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// The module.
    module: PathBuf,
    /// The public key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The signature; by default MODULE.sig.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Trust {
    /// The public key.
    file: PathBuf,
    /// Its name, for people.
    #[arg(long)]
    name: String,
    #[arg(short, long, value_parser = output::one(), default_value = "table")]
    output: Output,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub(crate) struct Revoke {
    /// Id of the key.
    id: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub(crate) struct Require {
    /// Nothing shows the present rule.
    #[arg(value_enum)]
    rule: Option<Rule>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rule {
    /// Every upload must be signed with a trusted key.
    Signed,
    /// Uploads may be signed.
    Any,
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> Fault + '_ {
    |e| Fault::failed(format!("{} cannot be read: {e}", path.display()))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(path).map_err(unreadable(path))
}

pub(super) fn read_text(path: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(path).map_err(unreadable(path))
}

/// Signs a module with the private key in a file.
pub(super) fn sign(wasm: &[u8], key: &Path) -> Result<Signature, Fault> {
    let key = PrivateKey::from_pem(&read_text(key)?)
        .map_err(|e| Fault::failed(format!("{}: {e}", key.display())))?;
    Ok(key.sign(module_digest(wasm)))
}

/// The file beside a module that holds its signature.
pub(super) fn beside(module: &Path) -> PathBuf {
    let mut name = module.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Fault> {
    // A key that exists is never overwritten.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|e| Fault::failed(format!("{} cannot be written: {e}", path.display())))?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

impl Key {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Generate(new) => new.run(),
            Self::Sign(args) => {
                let signature = sign(&read(&args.module)?, &args.key)?;
                let out = args.out.unwrap_or_else(|| beside(&args.module));
                std::fs::write(&out, format!("{signature}\n"))
                    .map_err(|e| Fault::failed(format!("{}: {e}", out.display())))?;
                println!("{}: signed with {}", out.display(), signature.key);
                Ok(())
            }
            Self::Verify(args) => args.run(),
            Self::Trust(args) => args.run().await,
            Self::List(list) => {
                let client = list.target.open().await?.client;
                let keys = client.key_list().await?;
                let row = |key: &SigningKey| {
                    let created = key.created_at.get(..19).unwrap_or(&key.created_at);
                    vec![
                        key.id.clone(),
                        key.name.clone(),
                        if key.trusted { "trusted" } else { "revoked" }.to_owned(),
                        created.replace('T', " "),
                        key.created_by.clone().unwrap_or_default(),
                    ]
                };
                let rows = keys.items.iter().map(row).collect();
                let headers = ["id", "name", "state", "since", "by"];
                output::list(list.output, &keys, &headers, &[], rows)?;
                if list.output == Output::Table {
                    println!("{}", said(client.signing_policy().await?));
                }
                Ok(())
            }
            Self::Revoke(one) => {
                one.target.open().await?.client.key_revoke(&one.id).await?;
                println!("{} is trusted no longer", one.id);
                Ok(())
            }
            Self::Require(args) => {
                let client = args.target.open().await?.client;
                let policy = match args.rule {
                    None => client.signing_policy().await?,
                    Some(rule) => {
                        let policy = SigningPolicy {
                            require_signed_functions: rule == Rule::Signed,
                        };
                        client.set_signing_policy(policy).await?
                    }
                };
                println!("{}", said(policy));
                Ok(())
            }
        }
    }
}

fn said(policy: SigningPolicy) -> &'static str {
    match policy.require_signed_functions {
        true => "Uploads must be signed with a trusted key.",
        false => "Uploads need not be signed.",
    }
}

impl Generate {
    fn run(self) -> Result<(), Fault> {
        let key = PrivateKey::generate().map_err(|e| Fault::failed(e.to_string()))?;
        let mut public = self.file.as_os_str().to_owned();
        public.push(".pub");
        let public = PathBuf::from(public);
        write(&self.file, &key.to_pem(), 0o600)?;
        write(&public, &key.public().to_pem(), 0o644)?;
        println!("{}", key.public().id());
        println!("private key: {} (keep it to yourself)", self.file.display());
        println!("public key:  {}", public.display());
        println!("Next: sandmill key trust {} --name NAME", public.display());
        Ok(())
    }
}

impl Verify {
    fn run(self) -> Result<(), Fault> {
        let wrong = |path: &Path, e: sandmill_signing::Error| {
            Fault::failed(format!("{}: {e}", path.display()))
        };
        let file = self.signature.unwrap_or_else(|| beside(&self.module));
        let signature: Signature = read_text(&file)?.parse().map_err(|e| wrong(&file, e))?;
        let key = PublicKey::from_pem(&read_text(&self.key)?).map_err(|e| wrong(&self.key, e))?;
        key.verify(module_digest(&read(&self.module)?), &signature)
            .map_err(|e| wrong(&self.module, e))?;
        println!("{}: signed with {}", self.module.display(), signature.key);
        Ok(())
    }
}

impl Trust {
    async fn run(self) -> Result<(), Fault> {
        let text = read_text(&self.file)?;
        // Before it leaves this machine: a private key must not be sent by mistake.
        let key = PublicKey::from_pem(&text)
            .map_err(|e| Fault::failed(format!("{}: {e}", self.file.display())))?;
        let new = NewSigningKey {
            name: self.name,
            public_key: key.to_pem(),
        };
        let done = self.target.open().await?.client.key_trust(&new).await?;
        match self.output {
            Output::Json => output::json(&done),
            _ => {
                println!("{} ({}) is trusted", done.id, done.name);
                Ok(())
            }
        }
    }
}
