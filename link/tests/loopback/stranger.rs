//! The other end of a link as somebody else might write it: quinn and hand-made bytes.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ApplicationClose, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tombolo_link::CloseCode;
use tombolo_link_wire::{ALPN, Answer, Control, FrameDecoder, Hello, Preface};

use crate::cluster::{CLUSTERSET, Cluster, patiently};

/// A connection that does what it is told, of a cluster with a proper certificate.
pub(crate) struct Stranger {
    pub(crate) connection: Connection,
    control: Option<(SendStream, RecvStream)>,
    _endpoint: Endpoint,
}

impl Stranger {
    /// Dials a gateway, and says nothing yet.
    pub(crate) async fn dial(cluster: &Cluster, gateway: SocketAddr) -> Self {
        let issued = cluster.issue();
        let certificate = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes());
        Self::dial_as(gateway, Some((certificate.unwrap(), key.unwrap())))
            .await
            .unwrap()
    }

    pub(crate) async fn dial_as(
        gateway: SocketAddr,
        identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Result<Self, ConnectionError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        let mut tls = match identity {
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(config, gateway, "any.invalid");
        Ok(Self {
            connection: patiently(connecting.unwrap()).await?,
            control: None,
            _endpoint: endpoint,
        })
    }

    /// Dials and says Hello as it should be: the connection is in use afterwards.
    pub(crate) async fn linked(cluster: &Cluster, replica: &str, gateway: SocketAddr) -> Self {
        let mut stranger = Self::dial(cluster, gateway).await;
        let hello = hello(cluster, replica).encode();
        stranger.control(hello).await;
        stranger.control(Control::Ping(1).encode()).await;
        let (_, recv) = stranger.control.as_mut().unwrap();
        Hello::decode(frame(recv).await.unwrap()).unwrap();
        assert_eq!(
            Control::decode(frame(recv).await.unwrap()),
            Ok(Control::Pong(1))
        );
        stranger
    }

    /// Answers pings from now on, so that it is taken for alive.
    pub(crate) fn answer_pings(&mut self) {
        let (mut send, mut recv) = self.control.take().unwrap();
        tokio::spawn(async move {
            while let Some(content) = frame(&mut recv).await {
                if let Ok(Control::Ping(seq)) = Control::decode(content) {
                    let pong = Control::Pong(seq).encode();
                    if send.write_chunk(pong).await.is_err() {
                        break;
                    }
                }
            }
        });
    }

    /// Sends bytes on the control stream.
    pub(crate) async fn control(&mut self, bytes: impl Into<Bytes>) {
        if self.control.is_none() {
            self.control = Some(self.connection.open_bi().await.unwrap());
        }
        let (send, _) = self.control.as_mut().unwrap();
        send.write_chunk(bytes.into()).await.unwrap();
    }

    /// Opens a stream with these bytes and reads the answer; `None` if there is none.
    pub(crate) async fn ask(&self, preface: impl Into<Bytes>) -> Option<Answer> {
        let (mut send, mut recv) = self.connection.open_bi().await.unwrap();
        // It may be stopped before all is written.
        let _ = send.write_chunk(preface.into()).await;
        let _ = send.finish();
        let content = patiently(frame(&mut recv)).await?;
        Some(Answer::decode(content).unwrap())
    }

    /// The next stream that asks for a catalog.
    pub(crate) async fn next_catalog(&self) -> SendStream {
        loop {
            let (send, mut recv) = patiently(self.connection.accept_bi()).await.unwrap();
            let content = patiently(frame(&mut recv)).await.unwrap();
            if Preface::decode(content) == Ok(Preface::Catalog) {
                return send;
            }
        }
    }

    /// With which code the gateway closes the connection.
    pub(crate) async fn closed(&self) -> CloseCode {
        match patiently(self.connection.closed()).await {
            ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. }) => {
                error_code.into_inner().into()
            }
            other => panic!("{other}"),
        }
    }
}

pub(crate) fn hello(cluster: &Cluster, replica: &str) -> Hello {
    Hello {
        protocol_version: 1,
        merge_version: 1,
        clusterset: CLUSTERSET.to_owned(),
        cluster: cluster.id.clone(),
        replica: replica.to_owned(),
        siblings: 1,
        incarnation: String::new(),
    }
}

/// A frame with any content.
pub(crate) fn framed(content: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(content);
    frame
}

async fn frame(recv: &mut RecvStream) -> Option<Bytes> {
    let mut decoder = FrameDecoder::new(1 << 20);
    loop {
        if let Some(frame) = decoder.poll_frame().unwrap() {
            return Some(frame);
        }
        let chunk = recv.read_chunk(decoder.wanted(), true).await.ok()??;
        decoder.push(&chunk.bytes);
    }
}

/// Believes any server.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
