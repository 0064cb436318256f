//! Modules of languages that cannot write a manifest themselves.

use std::path::{Path, PathBuf};

use clap::Args;
use sandmill_build::{Language, Tools};

use crate::cli::fault::Fault;

#[derive(Args)]
pub(crate) struct Pack {
    /// The module, as its compiler made it.
    module: PathBuf,
    /// The manifest: JSON lines, see ABI.md.
    manifest: PathBuf,
    /// Where the packed module goes; by default it takes the place of the other.
    #[arg(short, long = "out", value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Pack {
    /// Adds or replaces the manifest and gives the module's path.
    pub(crate) fn run(self) -> Result<PathBuf, Fault> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|e| Fault::failed(format!("{} cannot be read: {e}", path.display())))
        };
        let manifest = String::from_utf8(read(&self.manifest)?)
            .map_err(|_| Fault::failed(format!("{} is not UTF-8", self.manifest.display())))?;
        let packed = sandmill_build::pack(&read(&self.module)?, &manifest, None).map_err(fault)?;
        let out = self.out.unwrap_or(self.module);
        std::fs::write(&out, packed)
            .map_err(|e| Fault::failed(format!("{}: {e}", out.display())))?;
        Ok(out)
    }
}

/// Builds a project that declares its functions in comments.
pub(super) fn build(folder: &Path, name: &str, language: Language) -> Result<Vec<u8>, Fault> {
    sandmill_build::build(folder, name, language, &tools()).map_err(fault)
}

fn fault(error: sandmill_build::Error) -> Fault {
    Fault::failed(error.to_string())
}

/// Compilers: named in the environment, else those that `cargo xtask toolchains` installs, else
/// what the machine has.
fn tools() -> Tools {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or(home)
        .unwrap_or_default();
    let installed = cache.join("sandmill/toolchains");
    let find = |variable: &str, file: &str| {
        let named = std::env::var_os(variable).map(PathBuf::from);
        named.or_else(|| Some(installed.join(file)).filter(|path| path.exists()))
    };
    Tools {
        asc: find("SANDMILL_ASC", "assemblyscript/node_modules/.bin/asc"),
        go: find("SANDMILL_GO", "go/bin/go"),
        go_cache: None,
        quickjs: find("SANDMILL_QUICKJS", "quickjs.wasm"),
    }
}
