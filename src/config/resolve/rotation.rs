use std::str::FromStr;

use jiff::SignedDuration;

use super::super::document;
use super::super::error::ValueError;
use super::super::lifetime::Lifetime;
use super::super::lifetimes;
use super::super::located::{Located, Text};
use super::super::names;
use super::super::spec::{Approval, OldKeys, RotationSpec, Workload};
use super::Resolver;

/// Most workloads that are restarted one after the other.
const MOST_WORKLOADS: usize = 32;

impl Resolver<'_> {
    pub(super) fn rotation(
        &mut self,
        written: Option<&Located<document::Rotation>>,
    ) -> Option<RotationSpec> {
        const PATH: &str = "spec.rotation";
        let empty = document::Rotation::default();
        let rotation = written.map_or(&empty, |written| &written.value);
        let safe_mode = self.flag(
            &format!("{PATH}.safeMode"),
            rotation.safe_mode.as_ref(),
            true,
        );
        let safe_start_window = self.pause(
            &format!("{PATH}.safeStartWindow"),
            rotation.safe_start_window.as_ref(),
            lifetimes::SAFE_START_WINDOW,
        );
        let soak = rotation.soak.as_ref();
        let soak = self.pause(&format!("{PATH}.soak"), soak, lifetimes::SOAK);
        let approval = match &rotation.approval {
            None => Some(Approval::Automatic),
            Some(text) => self.value(format_args!("{PATH}.approval"), text, str::parse),
        };
        let old_keys = match &rotation.old_keys {
            None => Some(OldKeys::Destroy),
            Some(text) => self.value(format_args!("{PATH}.oldKeys"), text, str::parse),
        };
        let automatic = rotation.automatic.as_ref();
        let automatic = self.flag(&format!("{PATH}.automatic"), automatic, false);
        let restart = self.workloads(&format!("{PATH}.restart"), rotation.restart.as_deref());
        Some(RotationSpec {
            safe_mode: safe_mode?,
            safe_start_window: safe_start_window?,
            soak: soak?,
            approval: approval?,
            old_keys: old_keys?,
            automatic: automatic?,
            restart: restart?,
        })
    }

    fn workloads(
        &mut self,
        path: &str,
        written: Option<&[Located<document::Workload>]>,
    ) -> Option<Vec<Workload>> {
        let written = written.unwrap_or_default();
        if let Some(surplus) = written.get(MOST_WORKLOADS) {
            self.report(
                Some(surplus.at),
                format!("{path} has more than {MOST_WORKLOADS} workloads"),
                "name those only that do not read changed certificates by themselves",
            );
            return None;
        }
        let mut resolved: Vec<Workload> = Vec::new();
        for (index, written) in written.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let workload = &written.value;
            let kind = self.value(format_args!("{path}.kind"), &workload.kind, str::parse);
            let name = |text: &str| names::workload(text).map(str::to_owned);
            let name = self.value(format_args!("{path}.name"), &workload.name, name);
            let role = self.value(format_args!("{path}.role"), &workload.role, str::parse);
            let label = |text: &str| names::label("namespace", text).map(str::to_owned);
            let namespace = match &workload.namespace {
                None => Some(None),
                Some(text) => self
                    .value(format_args!("{path}.namespace"), text, label)
                    .map(Some),
            };
            let workload = Workload {
                kind: kind?,
                name: name?,
                namespace: namespace?,
                role: role?,
            };
            if resolved.contains(&workload) {
                self.report(
                    Some(written.at),
                    format!("{path} names a workload that is named already"),
                    "name each workload once",
                );
                return None;
            }
            resolved.push(workload);
        }
        Some(resolved)
    }

    fn flag(&mut self, path: &str, text: Option<&Text<bool>>, default: bool) -> Option<bool> {
        let Some(text) = text else {
            return Some(default);
        };
        self.value(path, text, |word| {
            word.parse().map_err(|_| {
                let shown: String = word.chars().take(40).collect();
                ValueError::new(
                    format!("{shown:?} is neither true nor false"),
                    "write true or false",
                )
            })
        })
    }

    /// A time to wait: a lifetime, or none.
    fn pause<K>(
        &mut self,
        path: &str,
        text: Option<&Text<K>>,
        default: Lifetime,
    ) -> Option<SignedDuration> {
        let Some(text) = text else {
            return Some(default.duration());
        };
        self.value(path, text, |word| match word {
            "0s" => Ok(SignedDuration::ZERO),
            word => Lifetime::from_str(word).map(Lifetime::duration),
        })
    }
}
