//! Renewal for a node whose certificate is not valid now: it has run out, because the node or the whole house was switched
//! off for long, or it is not valid yet, because it was made while a clock was ahead.
//!
//! Nobody lets it in as a peer. But it can still show who it was: by its old certificate, which the CA signed, and a
//! signing request that only the holder of the old key can have made. What it gets is good for that key alone, so that a
//! request which somebody else repeats is of no use to them. It must still be a member: a removed node stays out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use jarvis_types::NodeId;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::FromDer;

use crate::accept::refuse;
use crate::close::CloseCode;
use crate::identity::{CertificateNames, fingerprint_of};
use crate::join::{Failed, connect, exchange};
use crate::mesh::MeshInner;
use crate::tls::{self, ALPN_RENEW, JoinDoubt};

/// Most bytes of a request: a certificate and a signing request.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Most bytes of an answer: a certificate, or words.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// How long one request may take, on either side.
const DEADLINE: Duration = Duration::from_secs(5);

const ISSUED: u8 = 0;
const REFUSED: u8 = 1;

/// `old certificate's length (4) | old certificate | signing request`
fn request(old: &CertificateDer<'_>, csr: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + old.len() + csr.len());
    out.put_u32_le(old.len() as u32);
    out.put_slice(old);
    out.put_slice(csr);
    out.freeze()
}

fn parse(request: &[u8]) -> Option<(CertificateDer<'_>, &[u8])> {
    let (length, rest) = request.split_first_chunk::<4>()?;
    let (old, csr) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((CertificateDer::from(old), csr))
}

fn same_key(old: &CertificateDer<'_>, csr: &[u8]) -> bool {
    let Ok((_, old)) = x509_parser::parse_x509_certificate(old) else {
        return false;
    };
    let Ok((_, csr)) = x509_parser::certification_request::X509CertificationRequest::from_der(csr) else {
        return false;
    };
    old.public_key().raw == csr.certification_request_info.subject_pki.raw
}

/// The new certificate for a request, or why there is none.
fn issue(mesh: &MeshInner, bytes: &[u8]) -> Result<(NodeId, CertificateDer<'static>), String> {
    let (ca, ttl) = mesh.issuer().ok_or("this node does not hold the CA's key")?;
    let (old, csr) = parse(bytes).ok_or("the request is malformed")?;
    let names = CertificateNames::parse(&old).map_err(|e| e.to_string())?;
    tls::was_signed_by(ca.certificate(), &old, names.not_after_ms)
        .map_err(|_| "the old certificate is not ours")?;
    let name = mesh
        .member_name(names.node)
        .filter(|_| names.cluster == mesh.cluster);
    let name = name.ok_or_else(|| mesh.unknown(names.node).reason())?;
    if !same_key(&old, csr) {
        return Err("the request is for another key than the old certificate's".to_owned());
    }
    let (clock, entropy) = (&*mesh.clock, &*mesh.entropy);
    let cert = ca
        .issue(mesh.cluster, names.node, &name, csr, clock, entropy, ttl)
        .map_err(|e| e.to_string())?;
    Ok((names.node, cert))
}

/// The issuer's side: one request, one answer.
pub(crate) async fn answer(mesh: &Arc<MeshInner>, from: SocketAddr, connection: quinn::Connection) {
    let Ok(_place) = mesh.joins.try_acquire() else {
        return refuse(&connection, from, CloseCode::JoinBusy);
    };
    let serve = async {
        let (mut send, mut recv) = connection.accept_bi().await.ok()?;
        let bytes = recv.read_to_end(MAX_REQUEST_BYTES).await.ok()?;
        let mut out = BytesMut::new();
        match issue(mesh, &bytes) {
            Ok((node, cert)) => {
                tracing::info!(peer = %node, %from, "issued a certificate to a node whose own was not valid");
                out.put_u8(ISSUED);
                out.put_slice(&cert);
            }
            Err(why) => {
                crate::metrics::refused("late_renewal");
                tracing::warn!(%from, why, "refused to renew a certificate that is not valid now");
                out.put_u8(REFUSED);
                out.put_slice(why.as_bytes());
            }
        }
        send.write_chunk(out.freeze()).await.ok()?;
        send.finish().ok()?;
        connection.closed().await;
        Some(())
    };
    let _late = tokio::time::timeout(DEADLINE, serve).await;
    CloseCode::JoinDone.close(&connection);
}

/// Asks the node at `address` for a certificate by showing the old one.
pub(crate) async fn ask(
    mesh: &MeshInner,
    address: &str,
    csr: &[u8],
) -> Result<CertificateDer<'static>, String> {
    let identity = mesh.identity();
    let (fingerprint, bytes) = (
        fingerprint_of(identity.ca()),
        request(identity.certificate(), csr),
    );
    let asked = async {
        let connection = connect(
            &mesh.endpoint,
            &mesh.clock,
            address,
            fingerprint,
            mesh.cluster,
            ALPN_RENEW,
        )
        .await
        .map_err(|failed| match failed {
            Failed::Why(why) => why,
            Failed::Doubt(JoinDoubt::OtherCluster) => "belongs to another cluster".to_owned(),
            Failed::Doubt(JoinDoubt::ClockBehind(_)) => "this machine's clock is behind".to_owned(),
            Failed::Doubt(JoinDoubt::ClockAhead(_)) => "its own certificate has run out".to_owned(),
        })?;
        let answer = exchange(&connection, bytes, MAX_ANSWER_BYTES).await;
        CloseCode::JoinDone.close(&connection);
        match answer?.split_first() {
            Some((&ISSUED, cert)) => Ok(CertificateDer::from(cert.to_vec())),
            Some((_, why)) => Err(String::from_utf8_lossy(why).into_owned()),
            None => Err("no answer".to_owned()),
        }
    };
    tokio::time::timeout(DEADLINE, asked)
        .await
        .unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_parsed_with_care() {
        let old = CertificateDer::from(vec![1, 2, 3]);
        let bytes = request(&old, &[4, 5]);
        assert_eq!(parse(&bytes), Some((old, &[4u8, 5][..])));
        for hostile in [&[][..], &[1, 0, 0], &[9, 0, 0, 0, 1], &[0xff; 20]] {
            assert_eq!(parse(hostile), None, "{hostile:?}");
            assert!(!same_key(&CertificateDer::from(hostile), hostile));
        }
    }
}
