//! One order, from the account to the certificate (RFC 8555 section 7.4).

use std::{fs, sync::Arc, time::Duration};

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder,
    Order, OrderStatus, Problem, RetryPolicy,
};
use postern_net::{
    http::{WebClient, WebConfig},
    tls::{ClientTls, ClientTlsSettings, Pem},
};
use rcgen::{CertificateParams, DistinguishedName};
use tokio::task::spawn_blocking;

use super::{
    account,
    answers::ChallengeProof,
    client::AuthorityClient,
    folder::{AnswerFile, AuthorityFolder},
};
use crate::config::{Acme, ChallengeKind, KeyType};

/// The authority that is asked, and the folder of its files.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    acme: Arc<Acme>,
    folder: AuthorityFolder,
}

/// Why there is no certificate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct OrderError {
    pub reason: String,
    /// How long the authority asks to wait.
    pub retry_after: Option<Duration>,
}

impl Authority {
    pub(crate) const fn new(acme: Arc<Acme>, folder: AuthorityFolder) -> Self {
        Self { acme, folder }
    }

    /// A certificate for `name`: its key and its chain in PEM. `kinds` are the challenges that listeners
    /// answer, the one to take first. Whoever calls holds the lock of the folder.
    ///
    /// # Errors
    /// Why there is none. What was answered for it is answered no more, also when this is dropped.
    pub(crate) async fn order(
        &self,
        name: &str,
        kinds: &[ChallengeKind],
    ) -> Result<String, OrderError> {
        let client = self.client().await?;
        let ordering = Box::pin(self.order_by(name, kinds, &client));
        let ordered = tokio::time::timeout(ORDER_TIME, ordering).await;
        let ordered = ordered.unwrap_or_else(|_| {
            let limit = ORDER_TIME.as_secs();
            Err(Error::Other(
                format!("the order was not done within {limit} s").into(),
            ))
        });
        ordered.map_err(|error| OrderError {
            retry_after: client.retry_after().or_else(|| asked_to_wait(&error)),
            reason: told(&error),
        })
    }

    /// Reads the authorities that its server is verified by.
    async fn client(&self) -> Result<AuthorityClient, OrderError> {
        let acme = Arc::clone(&self.acme);
        let making = move || -> Result<AuthorityClient, String> {
            let tls = server_tls(&acme)?;
            let web = WebClient::new(&tls, WebConfig::default());
            web.map(AuthorityClient::new)
                .map_err(|error| error.to_string())
        };
        let made = spawn_blocking(making).await;
        let made = made.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        made.map_err(|reason| OrderError {
            reason,
            retry_after: None,
        })
    }

    async fn order_by(
        &self,
        name: &str,
        kinds: &[ChallengeKind],
        client: &AuthorityClient,
    ) -> Result<String, Error> {
        let account = account::open(&self.acme, &self.folder, client).await?;
        let mut order = match self.begin(&account, name).await {
            Err(error) if account::is_unknown(&error) => {
                let account = account::create(&self.acme, &self.folder, client).await?;
                self.begin(&account, name).await?
            }
            begun => begun?,
        };
        let answering = self.prove(&mut order, name, kinds).await?;
        let polled = order.poll_ready(&POLLING).await;
        if !matches!(polled, Ok(OrderStatus::Ready)) {
            // The order may say less than the challenge that failed.
            let refused = refusal(&mut order).await;
            return Err(refused.unwrap_or(match polled {
                Err(error) => error,
                Ok(_) => Error::Str("the order was refused, and nothing says why"),
            }));
        }
        drop(answering);
        let (key, request) = self.certificate_request(name).await?;
        order.finalize_csr(&request).await?;
        let chain = order.poll_certificate(&POLLING).await?;
        Ok(format!("{key}{chain}"))
    }

    async fn begin(&self, account: &Account, name: &str) -> Result<Order, Error> {
        let identifiers = [Identifier::Dns(name.to_owned())];
        let mut new = NewOrder::new(&identifiers);
        if let Some(profile) = &self.acme.profile {
            new = new.profile(profile);
        }
        account.new_order(&new).await
    }

    /// Answers what is asked for each name that was not proved a while ago.
    async fn prove(
        &self,
        order: &mut Order,
        name: &str,
        kinds: &[ChallengeKind],
    ) -> Result<Vec<AnswerFile>, Error> {
        let mut answering = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization?;
            if authorization.status == AuthorizationStatus::Pending {
                answering.push(self.answer(authorization, name, kinds).await?);
            }
        }
        Ok(answering)
    }

    async fn answer(
        &self,
        authorization: AuthorizationHandle<'_>,
        name: &str,
        kinds: &[ChallengeKind],
    ) -> Result<AnswerFile, Error> {
        let is_offered = |kind: &&ChallengeKind| {
            let mut offered = authorization.challenges.iter();
            offered.any(|offered| offered.r#type == challenge_type(**kind))
        };
        let kind = kinds.iter().find(is_offered).copied();
        let kind = kind.ok_or_else(|| {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
            let kinds = kinds.join(" and ");
            Error::Other(format!("the authority offers no {kinds} for {name}").into())
        })?;
        let mut authorization = authorization;
        let challenge = authorization.challenge(challenge_type(kind));
        let mut challenge = challenge.ok_or(Error::Str("the challenge that was offered"))?;
        let key_authorization = challenge.key_authorization();
        let digest = key_authorization.digest();
        let proof = ChallengeProof {
            kind,
            name,
            token: &challenge.token,
            key_authorization: key_authorization.as_str(),
            digest: digest.as_ref(),
        };
        let answering = proof.put(&self.folder);
        let answering = answering.map_err(|reason| Error::Other(reason.into()))?;
        challenge.set_ready().await?;
        Ok(answering)
    }

    /// A new key in PEM, and what asks for its certificate.
    async fn certificate_request(&self, name: &str) -> Result<(String, Vec<u8>), Error> {
        let (key_type, name) = (self.acme.key_type, name.to_owned());
        let making = move || -> Result<(String, Vec<u8>), rcgen::Error> {
            let key = rcgen::KeyPair::generate_for(match key_type {
                KeyType::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
                KeyType::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
                KeyType::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
            })?;
            let mut params = CertificateParams::new(vec![name])?;
            params.distinguished_name = DistinguishedName::new();
            let request = params.serialize_request(&key)?;
            Ok((key.serialize_pem(), request.der().to_vec()))
        };
        let made = spawn_blocking(making).await;
        let made = made.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        made.map_err(|error| Error::Other(Box::new(error)))
    }
}

/// How the authority's server is verified: by `acme.ca-files`, or as the system says. Blocks.
///
/// # Errors
/// What cannot be read or used.
pub(crate) fn server_tls(acme: &Acme) -> Result<ClientTls, String> {
    let read = |path: &std::path::PathBuf| {
        let name = path.display().to_string();
        let octets = fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        Ok(Pem::new(name, octets))
    };
    let authorities: Result<Vec<_>, String> = acme.ca_files.iter().map(read).collect();
    let authorities = authorities?;
    let tls = ClientTls::new(ClientTlsSettings {
        authorities: (!authorities.is_empty()).then_some(authorities),
        ..ClientTlsSettings::default()
    });
    tls.map_err(|error| error.to_string())
}

const fn challenge_type(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

/// What the challenges of an order that was refused say.
async fn refusal(order: &mut Order) -> Option<Error> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let mut problems = state.challenges.iter().filter_map(|one| one.error.clone());
        if let Some(problem) = problems.next() {
            return Some(Error::Api(problem));
        }
    }
    None
}

/// How long the authority asks to wait before the order is looked at again.
fn asked_to_wait(error: &Error) -> Option<Duration> {
    let Error::Timeout(Some(until)) = error else {
        return None;
    };
    Some(until.saturating_duration_since(postern_system::clock::now()))
}

/// What is said to people: the authority's own words first.
fn told(error: &Error) -> String {
    let Error::Api(Problem {
        r#type,
        detail,
        subproblems,
        ..
    }) = error
    else {
        return error.to_string();
    };
    let kind = r#type.as_deref().unwrap_or("an unknown error");
    let kind = kind.trim_start_matches("urn:ietf:params:acme:error:");
    let subproblems: Vec<_> = subproblems.iter().map(ToString::to_string).collect();
    let detail = detail.iter().cloned().chain(subproblems);
    let detail: Vec<_> = detail.collect();
    let said = format!("the authority says {kind}: {}", detail.join("; "));
    // Nobody bounds what an authority says.
    said.chars().take(REASON_LETTERS_MAX).collect()
}

/// Looked at soon, then ever more seldom.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .timeout(Duration::from_secs(120));
/// From the account to the certificate. Authorities take seconds.
const ORDER_TIME: Duration = Duration::from_secs(300);
const REASON_LETTERS_MAX: usize = 1000;
