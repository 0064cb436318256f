//! Functions, their versions and the keys that sign them.

use reqwest::Method;

use super::{Client, Error};
use crate::{
    Alias, AliasList, Function, FunctionUpload, FunctionUsage, NewAlias, NewSigningKey, NewTrial,
    SigningKey, SigningKeyList, SigningPolicy, Trial, VersionList, VersionRef,
};

impl Client {
    /// Publishes the functions of a module.
    pub async fn function_upload(&self, wasm: Vec<u8>) -> Result<FunctionUpload, Error> {
        self.function_upload_signed(wasm, None).await
    }

    /// Publishes the functions of a module, with its signature.
    pub async fn function_upload_signed(
        &self,
        wasm: Vec<u8>,
        signature: Option<&str>,
    ) -> Result<FunctionUpload, Error> {
        let mut request = self.request(Method::POST, "/functions");
        request = request.header("content-type", "application/wasm");
        if let Some(signature) = signature {
            request = request.header("sandmill-signature", signature.trim());
        }
        self.json(request.body(wasm)).await
    }

    /// All versions of a function.
    pub async fn function_versions(&self, name: &str) -> Result<VersionList, Error> {
        self.get(&format!("/functions/{name}/versions"), &[]).await
    }

    /// One version of a function, by number or alias.
    pub async fn function_version(&self, name: &str, version: &str) -> Result<Function, Error> {
        self.get(&format!("/functions/{name}/versions/{version}"), &[])
            .await
    }

    /// The module of a version.
    pub async fn function_module(&self, name: &str, version: &str) -> Result<Vec<u8>, Error> {
        let path = format!("/functions/{name}/versions/{version}/module");
        let response = self.send(self.request(Method::GET, &path)).await?;
        let bytes = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        Ok(bytes.to_vec())
    }

    /// Deletes a function with all versions.
    pub async fn function_delete(&self, name: &str) -> Result<(), Error> {
        self.delete(&format!("/functions/{name}")).await
    }

    /// Deletes one version of a function.
    pub async fn version_delete(&self, name: &str, version: u32) -> Result<(), Error> {
        self.delete(&format!("/functions/{name}/versions/{version}"))
            .await
    }

    /// All aliases of a function.
    pub async fn alias_list(&self, name: &str) -> Result<AliasList, Error> {
        self.get(&format!("/functions/{name}/aliases"), &[]).await
    }

    /// Lets an alias name a version.
    pub async fn alias_set(
        &self,
        name: &str,
        alias: &str,
        version: VersionRef,
    ) -> Result<Alias, Error> {
        let path = format!("/functions/{name}/aliases/{alias}");
        self.json(self.request(Method::PUT, &path).json(&NewAlias { version }))
            .await
    }

    /// Forgets an alias.
    pub async fn alias_delete(&self, name: &str, alias: &str) -> Result<(), Error> {
        self.delete(&format!("/functions/{name}/aliases/{alias}"))
            .await
    }

    /// Which jobs used a function.
    pub async fn function_usage(
        &self,
        name: &str,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<FunctionUsage, Error> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(cursor.map(|c| ("cursor", c.to_owned())));
        self.get(&format!("/functions/{name}/usage"), &query).await
    }

    /// Tries a function on rows.
    pub async fn function_test(&self, name: &str, trial: &NewTrial) -> Result<Trial, Error> {
        self.post(&format!("/functions/{name}/test"), trial).await
    }

    /// All keys that modules may or might be signed with.
    pub async fn key_list(&self) -> Result<SigningKeyList, Error> {
        self.get("/signing/keys", &[]).await
    }

    /// Trusts a key.
    pub async fn key_trust(&self, key: &NewSigningKey) -> Result<SigningKey, Error> {
        self.post("/signing/keys", key).await
    }

    /// Ends the trust in a key.
    pub async fn key_revoke(&self, id: &str) -> Result<(), Error> {
        self.delete(&format!("/signing/keys/{id}")).await
    }

    /// Whether modules must be signed.
    pub async fn signing_policy(&self) -> Result<SigningPolicy, Error> {
        self.get("/signing/policy", &[]).await
    }

    /// Says whether modules must be signed.
    pub async fn set_signing_policy(&self, policy: SigningPolicy) -> Result<SigningPolicy, Error> {
        self.json(self.request(Method::PUT, "/signing/policy").json(&policy))
            .await
    }
}
