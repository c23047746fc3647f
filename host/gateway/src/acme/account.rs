//! The account with the authority: made once, kept in a file, used by every order.

use instant_acme::{Account, AccountCredentials, Error, ExternalAccountKey, NewAccount, Problem};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{client::AuthorityClient, folder::AuthorityFolder};
use crate::config::Acme;

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    contacts: Vec<String>,
    credentials: AccountCredentials,
}

/// The account that is kept, or a new one. Whoever calls holds the lock of `folder`.
///
/// # Errors
/// Why there is none.
pub(super) async fn open(
    acme: &Acme,
    folder: &AuthorityFolder,
    client: &AuthorityClient,
) -> Result<Account, Error> {
    let contacts = acme.contact_urls();
    let Some(kept) = folder.account::<KeptAccount>() else {
        return create(acme, folder, client).await;
    };
    let credentials = serde_json::to_value(&kept.credentials)?;
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let account = builder.from_credentials(kept.credentials).await?;
    if kept.contacts != contacts {
        let told: Vec<_> = contacts.iter().map(String::as_str).collect();
        account.update_contacts(&told).await?;
        keep(folder, contacts, serde_json::from_value(credentials)?)?;
        info!("the authority knows other contacts");
    }
    Ok(account)
}

/// A new account, in the place of whatever is kept.
///
/// # Errors
/// Why there is none.
pub(super) async fn create(
    acme: &Acme,
    folder: &AuthorityFolder,
    client: &AuthorityClient,
) -> Result<Account, Error> {
    let contacts = acme.contact_urls();
    let told: Vec<_> = contacts.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &told,
        terms_of_service_agreed: acme.terms_agreed,
        only_return_existing: false,
    };
    let external = external_account(acme)?;
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let directory = acme.directory.clone();
    let created = builder.create(&new, directory, external.as_ref()).await;
    let (account, credentials) = created?;
    keep(folder, contacts, credentials)?;
    info!(
        account = account.id(),
        "there is an account with the authority"
    );
    Ok(account)
}

/// Whether the authority has no account of that key: it is another one, or has lost its memory.
pub(super) fn is_unknown(error: &Error) -> bool {
    let Error::Api(Problem { r#type, .. }) = error else {
        return false;
    };
    r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

fn keep(
    folder: &AuthorityFolder,
    contacts: Vec<String>,
    credentials: AccountCredentials,
) -> Result<(), Error> {
    let kept = KeptAccount {
        contacts,
        credentials,
    };
    let put = folder.put_account(&kept);
    put.map_err(|error| Error::Other(Box::new(error)))
}

fn external_account(acme: &Acme) -> Result<Option<ExternalAccountKey>, Error> {
    let written = acme.external_account();
    // The configuration was refused where it is not.
    let written = written.map_err(|_| Error::Str("acme.external-account-key in base64url"))?;
    Ok(written.map(|(id, key)| ExternalAccountKey::new(id.to_owned(), &key)))
}
