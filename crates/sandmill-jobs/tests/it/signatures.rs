//! Who may publish what, by signature.

use sandmill_jobs::{Service, Upload};
use sandmill_model::{ErrorCode, Failure, TenantId};
use sandmill_signing::{PrivateKey, module_digest};

use crate::script::start;
use crate::versions::upload;

fn signed(text: &str, key: &PrivateKey) -> Upload {
    Upload {
        signature: Some(key.sign(module_digest(text.as_bytes())).to_string()),
        by: Some("ci".into()),
        ..upload(text)
    }
}

async fn publish(service: &Service, upload: Upload) -> Result<(), Failure> {
    service
        .publish(&TenantId::single(), upload)
        .await
        .map(|_| ())
}

#[tokio::test]
async fn signatures_are_checked_stored_and_required_where_the_tenant_wants() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let tenant = TenantId::single();
    let (key, other) = (
        PrivateKey::generate().expect("random bits"),
        PrivateKey::generate().expect("random bits"),
    );
    let refused = async |upload: Upload| publish(&service, upload).await.expect_err("refused").code;
    assert_eq!(
        refused(signed("p f", &key)).await,
        ErrorCode::FunctionUntrustedKey
    );
    let trust = async |key: &PrivateKey, name: &str| {
        let by = Some("admin".to_owned());
        service
            .key_trust(&tenant, name, &key.public().to_pem(), by)
            .await
    };
    let record = trust(&key, "release").await.expect("trusted");
    assert_eq!(record.id, key.public().id().to_string());

    // Unsigned is fine until the tenant says otherwise; a later signature is added to the module.
    publish(&service, upload("p f")).await.expect("published");
    let provenance = async |n: usize| {
        service
            .versions(&tenant, "f")
            .await
            .expect("there")
            .swap_remove(n)
            .provenance
    };
    assert_eq!(provenance(0).await.signature, None);
    publish(&service, signed("p f", &key))
        .await
        .expect("signed later");
    let signature = provenance(0).await.signature.expect("a signature");
    assert_eq!(
        (signature.key_name.as_str(), signature.trusted),
        ("release", true)
    );
    assert_eq!(signature.key, record.id);
    assert_eq!(
        service.versions(&tenant, "f").await.expect("there").len(),
        1
    );

    service
        .set_require_signed(&tenant, true)
        .await
        .expect("set");
    assert_eq!(refused(upload("p f #2")).await, ErrorCode::FunctionUnsigned);
    let of_another = Upload {
        signature: signed("p f", &key).signature,
        ..upload("p f #2")
    };
    assert_eq!(refused(of_another).await, ErrorCode::FunctionSignature);
    let garbage = Upload {
        signature: Some("garbage".into()),
        ..upload("p f #2")
    };
    assert_eq!(refused(garbage).await, ErrorCode::FunctionSignature);
    assert_eq!(
        refused(signed("p f #2", &other)).await,
        ErrorCode::FunctionUntrustedKey
    );
    publish(&service, signed("p f #2", &key))
        .await
        .expect("published");
    let newest = provenance(0).await;
    assert_eq!(newest.published_by.as_deref(), Some("ci"));

    // Trust ends: what it signed stays and says so, nothing new comes in, until it is trusted again.
    service
        .key_revoke(&tenant, &record.id)
        .await
        .expect("revoked");
    assert!(!provenance(0).await.signature.expect("a signature").trusted);
    assert_eq!(
        refused(signed("p f #3", &key)).await,
        ErrorCode::FunctionUntrustedKey
    );
    trust(&key, "again").await.expect("trusted");
    publish(&service, signed("p f #3", &key))
        .await
        .expect("published");
    assert_eq!(service.keys(&tenant).await.expect("a list").len(), 1);
    assert_eq!(
        service
            .key_revoke(&tenant, "key_0")
            .await
            .expect_err("none")
            .code,
        ErrorCode::NotFound
    );

    // Another tenant trusts nobody and asks for nothing.
    let stranger = TenantId::new("other").expect("legal");
    let there = service.publish(&stranger, signed("p f", &key)).await;
    assert_eq!(
        there.expect_err("unknown").code,
        ErrorCode::FunctionUntrustedKey
    );
    service
        .publish(&stranger, upload("p f"))
        .await
        .expect("published");
    service.shutdown().await;
}

#[tokio::test]
async fn only_public_keys_are_trusted() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let tenant = TenantId::single();
    let key = PrivateKey::generate().expect("random bits");
    let (private, public) = (key.to_pem(), key.public().to_pem());
    for (name, pem) in [
        ("n", private.as_str()),
        ("n", ""),
        ("", &public),
        ("a\x1b[2J", &public),
    ] {
        let refused = service.key_trust(&tenant, name, pem, None).await;
        assert_eq!(refused.expect_err(name).code, ErrorCode::RequestInvalid);
    }
    assert!(service.keys(&tenant).await.expect("a list").is_empty());
    service.shutdown().await;
}
