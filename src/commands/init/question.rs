//! The questions of `init`, in steps. After each step its answers are tried.

use super::answers::Answers;

/// A question. Its answer is the value of one key of the configuration.
#[derive(Debug)]
pub(super) struct Question {
    /// The key. That of a target stands without the target's name: `target.workspace_id`.
    pub key: &'static str,
    pub words: &'static str,
    /// The answer is a secret. It is not shown.
    pub is_secret: bool,
    /// It is only asked if the step failed before.
    is_remedy: bool,
    applies: fn(&Answers) -> bool,
}

impl Question {
    const fn new(key: &'static str, words: &'static str, applies: fn(&Answers) -> bool) -> Self {
        Self { key, words, is_secret: false, is_remedy: false, applies }
    }

    const fn secret(key: &'static str, words: &'static str, applies: fn(&Answers) -> bool) -> Self {
        Self { is_secret: true, ..Self::new(key, words, applies) }
    }

    const fn remedy(key: &'static str, words: &'static str, applies: fn(&Answers) -> bool) -> Self {
        Self { is_remedy: true, ..Self::new(key, words, applies) }
    }

    /// Returns whether it has to be asked. An answer that was given by an option is asked again only if the
    /// step failed.
    pub(super) fn is_due(&self, answers: &Answers, is_again: bool) -> bool {
        let is_open = is_again || !(self.is_remedy || answers.is_settled(self.key));
        is_open && (self.applies)(answers)
    }
}

/// What the answers of a step are tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Source,
    Feed,
    Target,
    Ledger,
}

/// Questions that are tried together.
#[derive(Debug)]
pub(super) struct Step {
    pub title: &'static str,
    pub questions: &'static [Question],
    pub part: Part,
}

pub(super) static STEPS: [Step; 4] = [
    Step { title: "MISP", questions: &SOURCE, part: Part::Source },
    Step { title: "MISP's ZeroMQ feed", questions: &FEED, part: Part::Feed },
    Step { title: "Microsoft Sentinel", questions: &TARGET, part: Part::Target },
    Step { title: "The ledger", questions: &LEDGER, part: Part::Ledger },
];

const fn always(_: &Answers) -> bool {
    true
}

static SOURCE: [Question; 4] = [
    Question::new("misp.url", "Address of MISP", always),
    Question::new("misp.public_url", "Address of MISP for browsers", |answers| {
        answers.has_bare_host()
    }),
    Question::secret(
        "misp.key",
        "Key of a MISP user with the role Read Only (none: the feed alone)",
        |answers| !answers.holds("misp.key_file"),
    ),
    Question::remedy(
        "misp.ca_file",
        "PEM file with the authority of MISP's certificate",
        |answers| answers.text("misp.url").starts_with("https:"),
    ),
];

static FEED: [Question; 3] = [
    Question::new("misp.zeromq.endpoints", "Publisher (none: no feed)", always),
    Question::new("misp.zeromq.username", "Plugin.ZeroMQ_username", |answers| {
        answers.holds("misp.zeromq.endpoints")
    }),
    Question::secret("misp.zeromq.password", "Plugin.ZeroMQ_password", |answers| {
        answers.holds("misp.zeromq.username") && !answers.holds("misp.zeromq.password_file")
    }),
];

static TARGET: [Question; 7] = [
    Question::new("target.workspace_id", "Workspace ID", always),
    Question::new(
        "target.credential",
        "Sign in by client-secret, certificate, managed-identity, ...",
        always,
    ),
    Question::new("target.tenant_id", "Directory (tenant) ID", |answers| answers.is_application()),
    Question::new("target.client_id", "Application (client) ID", |answers| {
        answers.is_application()
    }),
    Question::secret("target.client_secret", "Value of the client secret", |answers| {
        answers.text("target.credential") == "client-secret"
            && !answers.holds("target.client_secret_file")
    }),
    Question::new("target.certificate_file", "PEM or PKCS#12 file with key", |answers| {
        answers.text("target.credential") == "certificate"
    }),
    Question::new(
        "target.mode",
        "live, or dry-run: what would be sent is only written to a file",
        always,
    ),
];

static LEDGER: [Question; 1] =
    [Question::new("ledger.data_dir", "Folder of the ledger, on a local disk", always)];
