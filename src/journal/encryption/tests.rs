use async_trait::async_trait;
use relay_pki_authority::x509::{KeyType, PrivateKey};
use relay_pki_authority::{Credential, CredentialError, KeyStoreError, Level};
use zeroize::Zeroizing;

use super::*;

/// A credential with this text in it.
struct Text(&'static str, String);

#[async_trait]
impl Credential for Text {
    fn place(&self) -> String {
        self.0.to_owned()
    }

    async fn read(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        Ok(Zeroizing::new(self.1.clone().into_bytes()))
    }
}

fn keyring(current: &str, previous: Option<&str>) -> Keyring {
    Keyring {
        current: Arc::new(Text("file new", current.to_owned())),
        previous: previous
            .map(|text| -> Arc<dyn Credential> { Arc::new(Text("file old", text.to_owned())) }),
    }
}

fn generation(relay: &'static str, level: Level, number: u32) -> [&'static str; 3] {
    let level = match level {
        Level::Root => "root",
        Level::Signer => "signer",
    };
    [relay, level, if number == 1 { "1" } else { "2" }]
}

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

#[tokio::test]
async fn a_key_comes_back_only_for_its_own_generation() {
    let ring = keyring(ONE, None);
    for key_type in KeyType::ALL {
        let key = PrivateKey::generate(key_type).unwrap();
        let ours = generation("relay", Level::Signer, 1);
        let entry = ring.encrypt(ours, &key).await.unwrap();
        let back = ring.decrypt(ours, &entry).await.unwrap();
        assert_eq!(back.pkcs8_der(), key.pkcs8_der());
        for other in [
            generation("relay", Level::Signer, 2),
            generation("relay", Level::Root, 1),
            generation("other", Level::Signer, 1),
        ] {
            let error = ring.decrypt(other, &entry).await.unwrap_err();
            assert!(error.to_string().contains("another generation"), "{error}");
        }
    }
}

#[tokio::test]
async fn nothing_of_the_key_is_in_the_entry_and_no_two_entries_are_alike() {
    let ring = keyring(ONE, None);
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let ours = generation("relay", Level::Root, 1);
    let entry = ring.encrypt(ours, &key).await.unwrap();
    let text = String::from_utf8(entry.clone()).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(parsed["format"], FORMAT);
    let cipher = BASE64
        .decode(parsed["ciphertext"].as_str().unwrap())
        .unwrap();
    let windows: Vec<&[u8]> = key.pkcs8_der().windows(8).collect();
    assert!(cipher.windows(8).all(|part| !windows.contains(&part)));
    assert_ne!(ring.encrypt(ours, &key).await.unwrap(), entry);
}

#[tokio::test]
async fn every_change_is_noticed() {
    let ring = keyring(ONE, None);
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let ours = generation("relay", Level::Root, 1);
    let entry = ring.encrypt(ours, &key).await.unwrap();
    for at in 0..entry.len() {
        let mut changed = entry.clone();
        changed[at] ^= 1;
        // White space between the parts says nothing.
        let Ok(back) = ring.decrypt(ours, &changed).await else {
            continue;
        };
        assert!(entry[at].is_ascii_whitespace(), "byte {at}");
        assert_eq!(back.pkcs8_der(), key.pkcs8_der());
    }
}

#[tokio::test]
async fn a_wrong_encryption_key_is_named_as_such() {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let ours = generation("relay", Level::Root, 1);
    let old = keyring(ONE, None);
    let entry = old.encrypt(ours, &key).await.unwrap();
    assert_eq!(key_id(&entry).unwrap(), old.current_id().await.unwrap());
    let error = keyring(TWO, None).decrypt(ours, &entry).await.unwrap_err();
    let KeyStoreError::Locked { reason, remedy } = &error else {
        panic!("{error}");
    };
    let ids = [
        old.current_id().await.unwrap(),
        keyring(TWO, None).current_id().await.unwrap(),
    ];
    assert!(ids.iter().all(|id| reason.contains(id)), "{reason}");
    assert!(remedy.contains("previousEncryptionKey"), "{remedy}");
    assert!(!reason.contains(ONE) && !reason.contains(TWO), "{reason}");
    let both = keyring(TWO, Some(ONE));
    let back = both.decrypt(ours, &entry).await.unwrap();
    assert_eq!(back.pkcs8_der(), key.pkcs8_der());
}

#[tokio::test]
async fn an_encryption_key_is_hexadecimal_or_base64() {
    let id = async |text: &str| keyring(text, None).current_id().await;
    let wanted = id(ONE).await.unwrap();
    let base64 = BASE64.encode([0x11; 32]);
    for same in [base64.as_str(), base64.trim_end_matches('=')] {
        assert_eq!(id(same).await.unwrap(), wanted, "{same}");
    }
    let short = BASE64.encode([1; 31]);
    for wrong in ["hunter2", &ONE[1..], &short, &ONE.replace("11", "1g")] {
        let error = id(wrong).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("openssl rand -hex 32"), "{text}");
        assert!(!text.contains(wrong), "{text}");
    }
}
