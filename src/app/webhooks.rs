//! The listeners of the webhooks. Sources that configure the same address share one.

use std::net::TcpListener;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::listen::listen;
use super::parts::{Parts, named};
use crate::config::{Config, Source, Webhook};
use crate::intake::webhook::{self, Listener, SourceWebhook};

/// A bound listener, and the sources that it serves.
#[derive(Debug)]
pub(super) struct WebhookListener {
    socket: TcpListener,
    /// The settings of the first of its sources. Those that belong to the listener are the same in all.
    settings: Webhook,
    sources: Vec<String>,
}

/// Binds the listeners of all webhooks.
///
/// # Errors
/// A port is in use, or a certificate cannot be used.
pub(super) fn bind_all(config: &Config) -> anyhow::Result<Vec<WebhookListener>> {
    let mut bound: Vec<WebhookListener> = Vec::new();
    for source in config.enabled_sources() {
        let Some(settings) = &source.webhook else { continue };
        // Port 0 stands for any free port, so it is nobody else's.
        let same = |one: &&mut WebhookListener| {
            one.settings.listen == settings.listen && settings.listen.port() != 0
        };
        match bound.iter_mut().find(same) {
            Some(shared) => shared.sources.push(source.name.clone()),
            None => bound.push(of_source(source, settings)?),
        }
    }
    Ok(bound)
}

fn of_source(source: &Source, settings: &Webhook) -> anyhow::Result<WebhookListener> {
    // The certificate is loaded here so that a mistake in it ends the start, and not a task later.
    if let Some(files) = &settings.tls {
        webhook::load(files).with_context(|| source.key_of("webhook.tls_certificate"))?;
    }
    let socket = listen(&source.key_of("webhook.listen"), settings.listen)?;
    Ok(WebhookListener { socket, settings: settings.clone(), sources: vec![source.name.clone()] })
}

/// Starts the listeners, each with the webhooks of its sources. Each webhook comes with the name of its source.
pub(super) fn start(
    listeners: Vec<WebhookListener>,
    webhooks: Vec<(String, SourceWebhook)>,
    intakes: &mut Parts,
    stop: &CancellationToken,
) {
    let mut left = webhooks;
    for WebhookListener { socket, settings, sources } in listeners {
        let own = left.extract_if(.., |(source, _)| sources.contains(source));
        let own: Vec<SourceWebhook> = own.map(|(_, webhook)| webhook).collect();
        let listener = Listener { socket, tls: settings.tls, patience: settings.answer_within };
        intakes.spawn(named("webhook", webhook::serve(listener, own, stop.clone())));
    }
}
