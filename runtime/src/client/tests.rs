use std::net::Ipv4Addr;

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, Uri, header},
    routing::get,
};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::config::{AuthInfo, Kubeconfig};
use tokio::{net::TcpListener, time};

use super::*;

#[tokio::test]
async fn requests_carry_the_credentials_to_the_configured_server() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut config = Config::new(uri(&listener));
    config.auth_info = AuthInfo {
        token: Some("secret".to_owned().into()),
        ..AuthInfo::default()
    };
    let version = get(async |request: Request| {
        let authorization = request.headers()[header::AUTHORIZATION].to_str().unwrap();
        let info = Info {
            git_version: authorization.to_owned(),
            ..Info::default()
        };
        serde_json::to_string(&info).unwrap()
    });
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/version", version))
            .await
            .unwrap();
    });

    let answer = client(config).unwrap().apiserver_version().await.unwrap();

    assert_eq!(answer.git_version, "Bearer secret");
}

#[tokio::test]
async fn a_client_is_made_without_a_server_and_its_requests_fail_at_once() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let config = Config::new(uri(&listener));
    drop(listener);

    let error = client(config)
        .unwrap()
        .apiserver_version()
        .await
        .unwrap_err();

    assert!(matches!(error, kube::Error::Service(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_overloaded_is_not_asked_again_out_of_sight() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let config = Config::new(uri(&listener));
    let overloaded = get(async || StatusCode::SERVICE_UNAVAILABLE);
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/version", overloaded))
            .await
            .unwrap();
    });

    let asked = client(config).unwrap();
    let answer = time::timeout(Duration::from_secs(60), asked.apiserver_version()).await;

    let error = answer
        .expect("kube's own client goes on for minutes")
        .unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 503),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_configuration_that_makes_no_client_is_an_error_with_a_reason() {
    let kubeconfig = Kubeconfig::default();
    let error = Config::from_custom_kubeconfig(kubeconfig, &Default::default())
        .await
        .unwrap_err();

    let error = ClientError::from(kube::Error::InferKubeconfig(error));

    assert_eq!(error.reason(), "InvalidConfig");
}

fn uri(listener: &TcpListener) -> Uri {
    format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap()
}
