//! TLS with the broker: ring, passed explicitly; the settings' authority or the machine's.

use std::sync::Arc;

use jarvis_config::MqttSettings;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::link::dial::Stream;
use crate::options::{OptionsError, read};
use crate::trouble::Trouble;

/// How TLS is spoken with the broker of these settings.
pub(crate) fn client(settings: &MqttSettings) -> Result<Arc<ClientConfig>, OptionsError> {
    let unspeakable = |error: rustls::Error| OptionsError::Tls(error.to_string());
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        Some(path) => {
            for certificate in certificates("ca_file", path)? {
                roots
                    .add(certificate)
                    .map_err(|error| unfit("ca_file", path, error))?;
            }
        }
        None => {
            // One that cannot be read is one fewer who may vouch.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unspeakable)?
        .with_root_certificates(roots);
    let config = match (&settings.certificate_file, &settings.key_file) {
        (Some(certificate), Some(key)) => {
            let chain = certificates("certificate_file", certificate)?;
            let key = PrivateKeyDer::from_pem_slice(&read("key_file", key)?)
                .map_err(|_| unfit("key_file", key, "no private key in PEM"))?;
            builder.with_client_auth_cert(chain, key).map_err(unspeakable)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn unfit(key: &'static str, path: &str, what: impl ToString) -> OptionsError {
    OptionsError::Unfit {
        key,
        path: path.to_owned(),
        what: what.to_string(),
    }
}

fn certificates(key: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, OptionsError> {
    let pem = read(key, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(unfit(key, path, "no certificate in PEM")),
    }
}

/// Speaks TLS over a stream.
pub(crate) async fn speak(
    config: Arc<ClientConfig>,
    host: &str,
    stream: Box<dyn Stream>,
) -> Result<Box<dyn Stream>, Trouble> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Trouble::Tls(format!("{host} is no name that a certificate could have")))?;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(trouble(host, &error)),
    }
}

/// What TLS itself says of a broken connection, if it does.
pub(crate) fn told_by_tls(host: &str, error: &std::io::Error) -> Option<Trouble> {
    let inner = error.get_ref()?;
    inner.downcast_ref::<rustls::Error>()?;
    Some(trouble(host, error))
}

fn trouble(host: &str, error: &std::io::Error) -> Trouble {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Trouble::TlsName {
                    host: host.to_owned(),
                }
            }
            // Signed by another authority of the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Trouble::TlsUntrusted,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Trouble::TlsExpired,
            other => Trouble::Tls(other.to_string()),
        },
        Some(rustls::Error::AlertReceived(alert)) if is_about_us(*alert) => Trouble::Tls(format!(
            "it does not take this cluster's certificate ({alert:?}); check [mqtt] certificate_file and key_file"
        )),
        Some(other) => Trouble::Tls(other.to_string()),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Trouble::Tls("the broker closed the connection; is TLS spoken on that port?".to_owned())
        }
        None => Trouble::Tls(error.to_string()),
    }
}

/// Whether an alert says that our certificate is missing or wrong.
fn is_about_us(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::HandshakeFailure
    )
}
