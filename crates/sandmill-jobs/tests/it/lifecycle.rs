//! Jobs from their submission to their end.

use std::collections::BTreeMap;
use std::time::Duration;

use sandmill_jobs::{NewJob, Service};
use sandmill_model::{ErrorCode, JobSpec, JobState, TableFormat, TableSpec, TenantId};
use sandmill_store::{Change, JobFilter, JobRecord, Store};

use crate::script::{end, running, start, store, submit};

#[tokio::test]
async fn every_way_to_end() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let tenant = TenantId::single();
    let ok = submit(&service, "ok").await;
    let ended = end(&service, &ok).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 1));
    let result = service.results(&tenant, ok.id).await.expect("a result");
    assert_eq!(
        service
            .chunk(&tenant, ok.id, &result, 0)
            .await
            .expect("bytes"),
        b"rows"
    );
    assert_eq!(
        service
            .chunk(&tenant, ok.id, &result, 1)
            .await
            .expect_err("none")
            .code,
        ErrorCode::NotFound
    );

    let failed = end(&service, &submit(&service, "fail").await).await;
    assert_eq!(
        failed.error.expect("an error").code,
        ErrorCode::SqlExecution
    );
    let panicked = end(&service, &submit(&service, "panic").await).await;
    assert_eq!(
        (panicked.state, panicked.error.expect("an error").code),
        (JobState::Failed, ErrorCode::Internal)
    );

    let late = NewJob {
        sql: "hang".into(),
        timeout: Some(Duration::from_millis(50)),
        ..NewJob::default()
    };
    let late = service.submit(&tenant, late).await.expect("queued");
    let ended = end(&service, &late).await;
    assert_eq!(
        (ended.state, ended.error.expect("an error").code),
        (JobState::TimedOut, ErrorCode::JobTimeout)
    );

    let hanging = submit(&service, "hang").await;
    running(&service, &hanging).await;
    assert_eq!(
        service
            .results(&tenant, hanging.id)
            .await
            .expect_err("running")
            .code,
        ErrorCode::ResultsNotReady
    );
    service.cancel(&tenant, hanging.id).await.expect("canceled");
    assert_eq!(end(&service, &hanging).await.state, JobState::Canceled);
    assert_eq!(service.running(), 0);
    service.shutdown().await;
}

#[tokio::test]
async fn the_queue_has_an_end_and_waiting_jobs_are_canceled_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |s| (s.slots, s.queue_limit) = (1, 2)).await;
    let tenant = TenantId::single();
    let first = submit(&service, "hang").await;
    running(&service, &first).await;
    let second = submit(&service, "ok").await;
    submit(&service, "ok").await;
    let full = service
        .submit(
            &tenant,
            NewJob {
                sql: "ok".into(),
                ..NewJob::default()
            },
        )
        .await;
    assert_eq!(full.expect_err("full").code, ErrorCode::QueueFull);
    let canceled = service.cancel(&tenant, second.id).await.expect("canceled");
    assert_eq!((canceled.state, canceled.attempt), (JobState::Canceled, 0));
    service.cancel(&tenant, first.id).await.expect("canceled");
    end(&service, &first).await;
    let other = TenantId::new("other").expect("legal");
    assert_eq!(
        service
            .view(&other, first.id)
            .await
            .expect_err("foreign")
            .code,
        ErrorCode::NotFound
    );
    assert_eq!(
        service
            .cancel(&other, first.id)
            .await
            .expect_err("foreign")
            .code,
        ErrorCode::NotFound
    );
    service.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_in_order_costs_no_attempt() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let job = submit(&service, "hang").await;
    service.shutdown().await;
    for _ in 0..4 {
        let service = start(folder.path(), |_| ()).await;
        running(&service, &job).await;
        service.shutdown().await;
        let seen = service
            .view(&TenantId::single(), job.id)
            .await
            .expect("there");
        assert_eq!((seen.state, seen.attempt), (JobState::Queued, 0));
        assert!(seen.reason.expect("a reason").contains("shut down"));
    }
}

#[tokio::test]
async fn jobs_of_dead_workers_are_tried_again_until_their_attempts_end() {
    let folder = tempfile::tempdir().expect("folder");
    let tenant = TenantId::single();
    let dead = store(folder.path()).await;
    let spec = |attempts| JobSpec {
        kind: Default::default(),
        sql: "ok".into(),
        params: vec![],
        functions: vec![],
        timeout_ms: 1000,
        result_bytes: 1000,
        on_result_limit: Default::default(),
        max_attempts: attempts,
        show_values: false,
        labels: BTreeMap::new(),
    };
    let insert = async |attempts| {
        let job = JobRecord::queued(tenant.clone(), spec(attempts), 1);
        dead.job_insert(&job, 100).await.expect("queued");
        dead.job_claim("dead", 1, i64::MAX - 1)
            .await
            .expect("claimed")
            .expect("a job")
    };
    let again = insert(3).await;
    let last = insert(1).await;
    let canceling = insert(3).await;
    dead.job_change(&tenant, canceling.id, Change::to(JobState::Canceling), 2)
        .await
        .expect("asked");
    // A result that was sealed before the row could say so.
    let half = folder
        .path()
        .join("results/default")
        .join(again.id.to_string());
    std::fs::create_dir_all(&half).expect("made");
    std::fs::write(half.join("chunk-00009.arrows"), "half").expect("written");
    let service = start(folder.path(), |_| ()).await;
    let ended = end(&service, &again).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 2));
    assert!(!half.join("chunk-00009.arrows").exists());
    let lost = end(&service, &last).await;
    assert_eq!(lost.error.expect("an error").code, ErrorCode::ExecutorLost);
    assert_eq!(end(&service, &canceling).await.state, JobState::Canceled);
    service.shutdown().await;
}

#[tokio::test]
async fn the_watch_takes_back_jobs_whose_heartbeat_stopped() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let other = store(folder.path()).await;
    let mut job = JobRecord::queued(TenantId::single(), service_spec(&service).await, 1);
    // Claimed elsewhere before this service can.
    job.created_at = 0;
    other.job_insert(&job, 100).await.expect("queued");
    let _ = other.job_claim("elsewhere", 1, 1).await.expect("asked");
    assert_eq!(end(&service, &job).await.state, JobState::Succeeded);
    service.shutdown().await;
}

async fn service_spec(service: &Service) -> JobSpec {
    let job = submit(service, "ok").await;
    end(service, &job).await.spec
}

#[tokio::test]
async fn lists_filter_and_page_and_tables_have_names() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let tenant = TenantId::single();
    for n in 0..5 {
        let labels = [("n".to_owned(), n.to_string())].into();
        let job = NewJob {
            sql: format!("ok number {n}"),
            labels,
            ..NewJob::default()
        };
        let job = service.submit(&tenant, job).await.expect("queued");
        end(&service, &job).await;
    }
    let list = async |filter: JobFilter, cursor: Option<&str>| {
        service
            .list(&tenant, &filter, 2, cursor)
            .await
            .expect("a page")
    };
    let first = list(JobFilter::default(), None).await;
    assert_eq!(first.items[0].spec.sql, "ok number 4");
    let second = list(JobFilter::default(), first.next.as_deref()).await;
    let third = list(JobFilter::default(), second.next.as_deref()).await;
    assert_eq!((third.items.len(), third.next), (1, None));
    let filter = JobFilter {
        text: Some("NUMBER 3".into()),
        ..JobFilter::default()
    };
    assert_eq!(list(filter, None).await.items.len(), 1);
    let filter = JobFilter {
        label: Some(("n".into(), "2".into())),
        ..JobFilter::default()
    };
    assert_eq!(list(filter, None).await.items[0].spec.sql, "ok number 2");
    let filter = JobFilter {
        state: Some(JobState::Failed),
        ..JobFilter::default()
    };
    assert!(list(filter, None).await.items.is_empty());

    let spec = |name: &str| TableSpec {
        name: name.into(),
        path: "x".into(),
        format: TableFormat::Csv,
    };
    service
        .table_register(&tenant, spec("t"), false)
        .await
        .expect("registered");
    let twice = service.table_register(&tenant, spec("t"), false).await;
    assert_eq!(twice.expect_err("taken").code, ErrorCode::StateConflict);
    service
        .table_register(&tenant, spec("t"), true)
        .await
        .expect("replaced");
    for bad in ["", "T", "1t", "a b", "ä", &"x".repeat(64)] {
        let refused = service.table_register(&tenant, spec(bad), false).await;
        assert_eq!(refused.expect_err(bad).code, ErrorCode::RequestInvalid);
    }
    let other = TenantId::new("other").expect("legal");
    assert!(service.tables(&other).await.expect("a list").is_empty());
    service.table_delete(&tenant, "t").await.expect("forgotten");
    assert_eq!(
        service.table(&tenant, "t").await.expect_err("gone").code,
        ErrorCode::NotFound
    );
    service.shutdown().await;
}
