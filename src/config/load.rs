//! Builds the checked [`Config`] from the merged layers, or reports all mistakes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use super::address::https;
use super::layers::{ConfigSource, DEFAULT_FILE, lay};
use super::mistake::{Mistake, Mistakes, Problem, SettingOrigin};
use super::reader::Reader;
use super::secret::FoundSecrets;
use super::values::uuid;
use super::{
    Admin, Azure, Config, Delivery, Guard, LedgerConfig, Log, Management, Rules, Source,
    VaultAccess, admin, check, cloud, credential, mapping, policy, source, target, tenants,
};
use crate::pure::stix::{ExpireFrom, Expiry, Identity, PublicUrls, Rendering, Withdraw};

/// The beginning of links to MISP if neither `misp.public_url` nor `misp.url` gives one.
pub const PLACEHOLDER_URL: &str = "https://misp.example.org";

impl ConfigSource {
    /// Reads the whole configuration. It opens only the file and the files that it names. `found` are the
    /// secrets that were already read from Key Vaults.
    ///
    /// # Errors
    /// Every mistake that the layers hold.
    pub fn read(&self, found: FoundSecrets) -> Result<Config, Mistakes> {
        let layers = lay(self)?;
        let (mut targets, template) = (layers.targets.clone(), layers.template.clone());
        let mut reader = Reader::new(layers, found);
        // The list of tenants adds targets, so it is read before the targets.
        let has_unread_tenants = tenants::read(&mut reader, &template, &mut targets);
        let policy = policy::read(&mut reader, "policy".to_owned(), None);
        let ledger = LedgerConfig::read(&mut reader);
        let sources = reader.each_source(Source::read);
        let public_urls = sources.iter().map(|one| (one.name.clone(), one.public_url.clone()));
        let rendering = rendering(&mut reader, public_urls.collect());
        let delivery = Delivery::read(&mut reader);
        let targets = targets.iter().map(|name| {
            target::read(&mut reader, name, &ledger, &policy, &rendering, delivery.limits)
        });
        let mut config = Config {
            sources,
            targets: targets.collect(),
            policy,
            rendering,
            ledger,
            guard: Guard::read(&mut reader),
            delivery,
            azure: Azure::read(&mut reader),
            management: Management::read(&mut reader),
            admin: Admin::read(&mut reader),
            log: Log::read(&mut reader),
            vault: vault(&mut reader),
            has_unread_tenants,
            lookups: BTreeSet::new(),
            secret_ends: reader.found.ends.clone(),
        };
        // All secrets have been read by now, so `lookups` is complete.
        config.lookups.clone_from(&reader.lookups);
        check::across(&config, &mut reader);
        Mistakes::or(reader.finish(), config).map_err(|mistakes| self.tell_if_empty(mistakes))
    }

    /// Tells, before what is missing, that there is no configuration at all.
    fn tell_if_empty(&self, mistakes: Mistakes) -> Mistakes {
        if self.used_file().is_some() || !self.variables().is_empty() {
            return mistakes;
        }
        let none = format!("there is none: no file {DEFAULT_FILE}, and no variable MSR_…");
        let hint = "`misp-sentinel-relay init` asks for what is needed and writes one; --config FILE names another";
        let none = Problem::new(none).hint(hint);
        mistakes.after(Mistake::new("configuration", SettingOrigin::Default, none))
    }

    /// Reads only the settings that shape indicators. Intakes, targets and their secrets may be missing or
    /// wrong. Without MISP's URL the links begin with [`PLACEHOLDER_URL`].
    ///
    /// # Errors
    /// Every mistake of the sections that are read.
    pub fn rules(&self) -> Result<Rules, Mistakes> {
        self.part(|reader| {
            let policy = policy::read(reader, "policy".to_owned(), None);
            // What is converted comes from no source in particular.
            let public_url = reader.each_source(source::known_public_url).swap_remove(0);
            let has_placeholder_url = public_url.is_none();
            let public_url = public_url.unwrap_or_else(|| PLACEHOLDER_URL.to_owned());
            let public_urls = PublicUrls::from_iter([(String::new(), public_url)]);
            Rules { policy, rendering: rendering(reader, public_urls), has_placeholder_url }
        })
    }

    /// Reads only the section of the ledger, in whose folder the running relay listens. All other sections may
    /// be missing or wrong.
    ///
    /// # Errors
    /// Every mistake of that section.
    pub fn ledger(&self) -> Result<LedgerConfig, Mistakes> {
        self.part(LedgerConfig::read)
    }

    /// Returns what sets the folder of the ledger.
    ///
    /// # Errors
    /// Every mistake of the section of the ledger.
    pub fn data_dir_origin(&self) -> Result<SettingOrigin, Mistakes> {
        self.part(|reader| {
            LedgerConfig::read(reader);
            reader.origin("ledger.data_dir")
        })
    }

    /// Reads only the address of the admin listener. All other sections may be missing or wrong.
    ///
    /// # Errors
    /// The mistake in it.
    pub fn admin_listen(&self) -> Result<SocketAddr, Mistakes> {
        self.part(|reader| admin::listen(reader, "admin.listen"))
    }

    /// Reads only the section of the log. All other sections may be missing or wrong.
    ///
    /// # Errors
    /// Every mistake of that section.
    pub fn log(&self) -> Result<Log, Mistakes> {
        self.part(Log::read)
    }

    fn part<T>(&self, read: impl FnOnce(&mut Reader) -> T) -> Result<T, Mistakes> {
        let mut reader = Reader::new(lay(self)?, FoundSecrets::default());
        let part = read(&mut reader);
        Mistakes::or(reader.into_mistakes(), part)
    }
}

/// Reads the whole configuration, as [`ConfigSource::read`] does, without secrets from vaults.
///
/// # Errors
/// Every mistake that the layers hold.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, Mistakes> {
    ConfigSource::new(file, environment).read(FoundSecrets::default())
}

/// Reads the settings that shape indicators, as [`ConfigSource::rules`] does.
///
/// # Errors
/// Every mistake of the sections that are read.
pub fn load_rules(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Rules, Mistakes> {
    ConfigSource::new(file, environment).rules()
}

fn rendering(reader: &mut Reader, public_urls: PublicUrls) -> Rendering {
    Rendering {
        identity: reader.word("indicator.identity", Identity::Observable),
        withdraw: reader.word("indicator.withdraw", Withdraw::Expire),
        namespace: reader.parsed("indicator.namespace", "a uuid", uuid),
        public_urls,
        default_confidence: reader.number("indicator.default_confidence", 0..=100),
        false_positive_points: reader.number("sightings.false_positive_points", 0..=100),
        expiry: expiry(reader),
        tags: mapping::tags(reader),
        labels_ignore: reader.texts("indicator.labels_ignore"),
        labels_taxonomies: reader.texts("indicator.labels_taxonomies"),
        context: mapping::context(reader),
    }
}

fn expiry(reader: &mut Reader) -> Expiry {
    Expiry {
        default_days: reader.number("expiry.default_days", 1..=36500),
        days: days(reader),
        from: reader.word("expiry.from", ExpireFrom::Timestamp),
        last_seen_is_expiry: reader.flag("expiry.last_seen_is_expiry"),
        renew: reader.flag("expiry.renew"),
    }
}

fn days(reader: &mut Reader) -> BTreeMap<String, u32> {
    let paths = reader.keys_below("expiry.days").into_iter();
    let days = paths.map(|path| (reader.number(&format!("expiry.days.{path}"), 0..=36500), path));
    days.filter(|(days, _)| *days > 0).map(|(days, path)| (path, days)).collect()
}

/// Reads the access to Key Vaults. It must be read last, because it is needed only if another secret lies in
/// a vault.
fn vault(reader: &mut Reader) -> VaultAccess {
    const SECTION: &str = "azure.vault";
    let cloud = cloud::read(reader, &format!("{SECTION}.cloud"));
    let needed = !reader.lookups.is_empty() || reader.found.vault.is_some();
    let others = reader.lookups.clone();
    let mut credential = credential::read(reader, SECTION, cloud.exchange, needed);
    if credential.secret_mut().is_some_and(|secret| secret.is_unread()) {
        let problem = Problem::new("its secret lies in a vault that cannot be opened without it");
        let problem = problem.hint("give it as a file or variable, or use a managed identity");
        reader.fault(&format!("{SECTION}.credential"), problem);
    }
    // A secret of this credential cannot be looked up, and was reported above.
    reader.lookups = others;
    let authority = https(reader, &format!("{SECTION}.authority"), cloud.authority);
    VaultAccess { credential, authority }
}
