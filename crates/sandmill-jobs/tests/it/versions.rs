//! Versions of functions, their aliases, and the jobs that use them.

use std::collections::HashSet;
use std::time::Duration;

use sandmill_jobs::{NewJob, Service, Trial, Upload};
use sandmill_model::{ErrorCode, Failure, JobState, TenantId, VersionRef};
use serde_json::json;

use crate::script::{digest, end, running, start, submit};

pub fn upload(text: &str) -> Upload {
    Upload {
        wasm: text.as_bytes().to_vec(),
        ..Upload::default()
    }
}

async fn publish(service: &Service, text: &str) {
    let done = service.publish(&TenantId::single(), upload(text)).await;
    done.expect("published");
}

/// What the statement's names stand for, like `f:2 f@1:1`.
async fn pins(service: &Service, sql: &str) -> String {
    let job = submit(service, sql).await;
    end(service, &job).await;
    let pins = job.spec.functions.iter();
    let shown: Vec<_> = pins.map(|p| format!("{}:{}", p.name, p.version)).collect();
    shown.join(" ")
}

async fn alias(service: &Service, alias: &str, version: &str) -> Result<u32, Failure> {
    let version: VersionRef = version.parse().expect("a version");
    let tenant = TenantId::single();
    let set = service.alias_set(&tenant, "f", alias, &version, Some("me"));
    Ok(set.await?.version)
}

#[tokio::test]
async fn versions_grow_are_pinned_and_belong_to_one_package() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |s| s.slots = 1).await;
    let tenant = TenantId::single();
    let publish = async |text: &str| service.publish(&tenant, upload(text)).await;
    assert_eq!(publish("p f g").await.expect("published").1[0].version, 1);
    assert_eq!(publish("p f g").await.expect("the same").1[0].version, 1);
    assert_eq!(publish("p f #2").await.expect("newer").1[0].version, 2);
    assert_eq!(
        publish("q f").await.expect_err("another package").code,
        ErrorCode::StateConflict
    );
    let job = submit(&service, "hang F(1) 'g'").await;
    assert_eq!(
        job.spec
            .functions
            .iter()
            .map(|p| (p.name.as_str(), p.version))
            .collect::<Vec<_>>(),
        [("f", 2)]
    );
    assert_eq!(
        service
            .function_delete(&tenant, "f", None)
            .await
            .expect_err("in use")
            .code,
        ErrorCode::StateConflict
    );
    let old = NewJob {
        sql: "ok f()".into(),
        functions: [("f".into(), 1.into())].into(),
        ..NewJob::default()
    };
    assert_eq!(
        service
            .submit(&tenant, old)
            .await
            .expect("queued")
            .spec
            .functions[0]
            .version,
        1
    );
    let none = NewJob {
        sql: "ok f()".into(),
        functions: [("f".into(), 7.into())].into(),
        ..NewJob::default()
    };
    assert_eq!(
        service
            .submit(&tenant, none)
            .await
            .expect_err("no such version")
            .code,
        ErrorCode::NotFound
    );
    service.cancel(&tenant, job.id).await.expect("canceled");
    end(&service, &job).await;
    service
        .wait(&tenant, job.id, Duration::from_secs(5), None)
        .await
        .expect("there");
    while service.function_delete(&tenant, "f", None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(publish("q f").await.expect("free again").1[0].version, 3);
    service.shutdown().await;
}

#[tokio::test]
async fn names_in_sql_ask_for_versions_and_aliases() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let tenant = TenantId::single();
    for text in ["p f", "p f #2", "p f #3"] {
        publish(&service, text).await;
    }
    assert_eq!(alias(&service, "stable", "2").await, Ok(2));
    let sql = "ok f() \"f@1\"() \"f@stable\"() \"f@latest\"() \"f@nobody\"() \"f@9\"()";
    assert_eq!(pins(&service, sql).await, "f:3 f@1:1 f@latest:3 f@stable:2");
    // What the request says counts for calls that say nothing.
    let job = NewJob {
        sql: "ok f() \"f@1\"()".into(),
        functions: [("f".into(), "stable".parse().expect("an alias"))].into(),
        ..NewJob::default()
    };
    let job = service.submit(&tenant, job).await.expect("queued");
    let versions: Vec<_> = job.spec.functions.iter().map(|p| p.version).collect();
    assert_eq!(versions, [2, 1]);
    let wrong = NewJob {
        sql: "ok".into(),
        functions: [("f".into(), "nobody".parse().expect("an alias"))].into(),
        ..NewJob::default()
    };
    let refused = service.submit(&tenant, wrong).await.expect_err("no alias");
    assert_eq!(refused.code, ErrorCode::NotFound);
    assert_eq!(
        refused.hint.as_deref(),
        Some("There are the aliases latest, stable.")
    );
    for (name, code) in [
        ("latest", ErrorCode::RequestInvalid),
        ("7", ErrorCode::RequestInvalid),
        ("A", ErrorCode::RequestInvalid),
    ] {
        assert_eq!(alias(&service, name, "1").await.expect_err(name).code, code);
    }
    assert_eq!(
        alias(&service, "stable", "9").await.expect_err("none").code,
        ErrorCode::NotFound
    );
    service.shutdown().await;
}

#[tokio::test]
async fn a_roll_back_holds_until_it_is_ended() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let tenant = TenantId::single();
    publish(&service, "p f").await;
    publish(&service, "p f #2").await;
    assert_eq!(pins(&service, "ok f()").await, "f:2");
    assert_eq!(alias(&service, "default", "1").await, Ok(1));
    assert_eq!(
        pins(&service, "ok f() \"f@latest\"()").await,
        "f:1 f@latest:2"
    );
    publish(&service, "p f #3").await;
    assert_eq!(pins(&service, "ok f()").await, "f:1");
    let shown = service.functions(&tenant).await.expect("a list");
    assert_eq!((shown[0].version, shown.len()), (1, 1));
    assert_eq!(shown[0].aliases, ["default"]);

    // What an alias names is not deleted.
    let delete = async |version| service.function_delete(&tenant, "f", version).await;
    let refused = delete(Some(1)).await.expect_err("named");
    assert_eq!(refused.code, ErrorCode::StateConflict);
    assert!(refused.message.contains("alias default"), "{refused}");
    let aliases = service.aliases(&tenant, "f").await.expect("a list");
    let shown: Vec<_> = aliases
        .iter()
        .map(|a| (a.alias.as_str(), a.version))
        .collect();
    assert_eq!(shown, [("default", 1), ("latest", 3)]);
    assert_eq!(aliases[0].changed_by.as_deref(), Some("me"));

    let forget = async |alias| service.alias_delete(&tenant, "f", alias).await;
    forget("default").await.expect("ended");
    forget("default").await.expect("ended already");
    assert_eq!(
        forget("stable").await.expect_err("never set").code,
        ErrorCode::NotFound
    );
    assert_eq!(pins(&service, "ok f()").await, "f:3");
    // The newest is deleted; the one before is the newest then, and the number stays taken.
    delete(Some(3)).await.expect("deleted");
    assert_eq!(pins(&service, "ok f()").await, "f:2");
    publish(&service, "p f #4").await;
    assert_eq!(pins(&service, "ok f()").await, "f:4");
    assert_eq!(
        delete(Some(3)).await.expect_err("gone").code,
        ErrorCode::NotFound
    );
    service.shutdown().await;
}

#[tokio::test]
async fn versions_in_use_stay_and_deleted_ones_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |s| s.slots = 1).await;
    let tenant = TenantId::single();
    let file = |text: &str| {
        let name = format!("modules/default/{}.wasm", digest(text.as_bytes()));
        folder.path().join(name).exists()
    };
    publish(&service, "p f g").await;
    publish(&service, "p f g #2").await;
    let running_job = submit(&service, "hang \"f@1\"()").await;
    running(&service, &running_job).await;
    let queued = submit(&service, "ok \"f@1\"()").await;
    let delete = async |name, version| service.function_delete(&tenant, name, version).await;
    for version in [Some(1), None] {
        let refused = delete("f", version).await.expect_err("in use");
        assert_eq!(refused.code, ErrorCode::StateConflict);
        let said = &refused.message;
        assert!(
            said.contains(&format!("{} (running)", running_job.id))
                && said.contains(&format!("{} (queued)", queued.id)),
            "{said}"
        );
    }
    // Nobody uses these.
    delete("f", Some(2)).await.expect("deleted");
    assert!(file("p f g #2"), "g@2 still needs it");
    delete("g", None).await.expect("deleted");
    assert!(!file("p f g #2"));
    assert!(file("p f g"), "f@1 still needs it");

    service.cancel(&tenant, running_job.id).await.expect("told");
    end(&service, &running_job).await;
    let done = end(&service, &queued).await;
    assert_eq!(done.state, JobState::Succeeded);
    delete("f", Some(1)).await.expect("deleted");
    assert!(!file("p f g"));
    // The job stays, but cannot be run again.
    let again = service.retry(&tenant, queued.id).await.expect_err("gone");
    assert_eq!(again.code, ErrorCode::StateConflict);
    assert!(
        again.message.contains("Version 1 of the function f"),
        "{again}"
    );
    let (usage, jobs) = service.usage(&tenant, "f", 1, None).await.expect("counts");
    assert_eq!((usage[0].version, usage[0].jobs), (1, 2));
    assert_eq!((usage[0].active, usage[0].succeeded), (0, 1));
    assert_eq!(jobs.items[0].id, queued.id);
    let cursor = jobs.next.expect("more").parse().ok();
    let (_, rest) = service
        .usage(&tenant, "f", 1, cursor)
        .await
        .expect("a page");
    assert_eq!((rest.items[0].id, rest.next), (running_job.id, None));
    assert_eq!(
        service
            .usage(&tenant, "h", 1, None)
            .await
            .expect_err("none")
            .code,
        ErrorCode::NotFound
    );
    let other = TenantId::new("other").expect("legal");
    assert!(service.usage(&other, "f", 1, None).await.is_err());
    // A refused upload leaves no file either.
    publish(&service, "p f").await;
    let refused = service.publish(&tenant, upload("q f")).await;
    assert_eq!(refused.expect_err("taken").code, ErrorCode::StateConflict);
    assert!(!file("q f") && file("p f"));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn jobs_see_uploads_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |s| s.queue_limit = 10_000).await;
    publish(&service, "p f g #0").await;
    let uploads = (1..=3).map(|writer| {
        let service = service.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                publish(&service, &format!("p f g #{writer}-{n}")).await;
            }
        })
    });
    let submits = (0..3).map(|_| {
        let service = service.clone();
        tokio::spawn(async move {
            let mut jobs = Vec::new();
            for _ in 0..40 {
                jobs.push(submit(&service, "ok f() g() \"g@latest\"()").await);
            }
            jobs
        })
    });
    let (uploads, submits): (Vec<_>, Vec<_>) = (uploads.collect(), submits.collect());
    let mut jobs = Vec::new();
    for submits in submits {
        jobs.extend(submits.await.expect("submitted"));
    }
    for upload in uploads {
        upload.await.expect("uploaded");
    }
    for job in &jobs {
        let digests: HashSet<_> = job.spec.functions.iter().map(|p| p.digest).collect();
        assert_eq!((job.spec.functions.len(), digests.len()), (3, 1), "{job:?}");
        let ended = end(&service, job).await;
        assert_eq!(
            (ended.state, ended.spec),
            (JobState::Succeeded, job.spec.clone())
        );
    }
    let tenant = TenantId::single();
    let versions = service.versions(&tenant, "f").await.expect("there");
    let numbers: Vec<_> = versions.iter().map(|f| f.version).collect();
    assert_eq!(numbers, (1..=61).rev().collect::<Vec<_>>());
    let digests: HashSet<_> = versions.iter().map(|f| f.digest).collect();
    assert_eq!(digests.len(), 61);
    service.shutdown().await;
}

#[tokio::test]
async fn a_job_keeps_its_version_over_uploads_roll_backs_and_restarts() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |s| s.slots = 1).await;
    let tenant = TenantId::single();
    publish(&service, "p f").await;
    let first = submit(&service, "hang f()").await;
    running(&service, &first).await;
    let second = submit(&service, "ok f()").await;
    publish(&service, "p f #2").await;
    alias(&service, "default", "2").await.expect("set");
    service.shutdown().await;

    let service = start(folder.path(), |s| s.slots = 1).await;
    running(&service, &first).await;
    for job in [&first, &second] {
        let seen = service.view(&tenant, job.id).await.expect("there");
        assert_eq!(seen.spec, job.spec);
        assert_eq!(seen.spec.functions[0].version, 1);
    }
    let refused = service.function_delete(&tenant, "f", Some(1)).await;
    assert_eq!(refused.expect_err("in use").code, ErrorCode::StateConflict);
    service.cancel(&tenant, first.id).await.expect("told");
    assert_eq!(end(&service, &second).await.spec.functions[0].version, 1);
    // Run again, it is still the same job.
    let again = service.retry(&tenant, second.id).await.expect("queued");
    assert_eq!(again.spec, second.spec);
    service.shutdown().await;
}

#[tokio::test]
async fn trials_have_a_deadline_and_leave_nothing_in_staging() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |s| {
        s.trial_timeout = Duration::from_millis(300)
    })
    .await;
    let tenant = TenantId::single();
    publish(&service, "p f hang").await;
    let trial = |version: &str| Trial {
        version: version.parse().expect("a version"),
        rows: vec![json!([])],
    };
    let go = async |name, version| service.try_function(&tenant, name, trial(version)).await;
    let done = go("f", "latest").await.expect("runs");
    assert_eq!(
        (done.version, done.chunks.as_slice()),
        (1, &[b"rows".to_vec()][..])
    );
    assert_eq!(
        go("f", "2").await.expect_err("none").code,
        ErrorCode::NotFound
    );
    assert_eq!(
        go("h", "1").await.expect_err("none").code,
        ErrorCode::NotFound
    );
    let late = go("hang", "1").await.expect_err("late");
    assert_eq!(late.code, ErrorCode::JobTimeout);
    let staged = std::fs::read_dir(folder.path().join("staging")).expect("there");
    assert_eq!(staged.count(), 0);
    assert!(
        service
            .list(&tenant, &Default::default(), 10, None)
            .await
            .expect("a list")
            .items
            .is_empty()
    );
    service.shutdown().await;
}
