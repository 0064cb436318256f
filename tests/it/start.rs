//! A server that starts on a data folder that an earlier one left behind.

use std::os::unix::fs::PermissionsExt;

use sandmill_api_types::Client;
use sandmill_app::{Server, Settings};
use sandmill_tests::program;

async fn start(data: &std::path::Path, token_days: u32) -> (Server, Client) {
    let mut settings = Settings::new(data);
    settings.listen.set_port(0);
    settings.compiler = Some(program());
    settings.token_days = token_days;
    let server = Server::start(settings).await.expect("starts");
    let client = Client::new(&server.url(), server.token());
    (server, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_in_the_folder_always_opens_the_door() {
    let folder = tempfile::tempdir().expect("folder");
    let (server, _) = start(folder.path(), 0).await;
    server.shutdown().await;
    // The first token has expired.
    let (server, client) = start(folder.path(), 365).await;
    assert!(server.is_new());
    client.me().await.expect("a good token");
    for name in ["sandmill.db", "sandmill.db-wal", "token"] {
        let data = std::fs::metadata(folder.path().join(name)).expect(name);
        assert_eq!(data.permissions().mode() & 0o077, 0, "{name}");
    }
    let token = server.token().to_owned();
    server.shutdown().await;
    // A good one stays.
    let (server, client) = start(folder.path(), 365).await;
    assert!(!server.is_new());
    assert_eq!(server.token(), token);
    client.me().await.expect("a good token");
    server.shutdown().await;
    // The database that knew it is gone.
    for name in ["sandmill.db", "sandmill.db-wal", "sandmill.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(name));
    }
    let (server, client) = start(folder.path(), 365).await;
    assert!(server.is_new());
    client.me().await.expect("a good token");
    server.shutdown().await;
}
