#!/bin/bash
# MISP's side of the relay, as commands. misp-docker runs this file at each start of misp-core when
# it is mounted at /custom/files/customize_misp.sh (compose.misp.yaml does); it can as well be copied
# into the container and run by hand. Run again it changes nothing.
set -euo pipefail

setting() {
    sudo -u www-data /var/www/MISP/app/Console/cake Admin setSetting -q "$1" "$2"
}

# The feed. MISP binds to 127.0.0.1 by default, where no other container reaches it: a password goes
# with the open address.
setting Plugin.ZeroMQ_host 0.0.0.0
setting Plugin.ZeroMQ_port 50000
setting Plugin.ZeroMQ_username relay
setting Plugin.ZeroMQ_password "$(cat /run/secrets/zeromq_password)"
setting Plugin.ZeroMQ_include_attachments false

# Publications come with the feed itself. Each of these is a withdrawal that would go unseen:
setting Plugin.ZeroMQ_event_notifications_enable true       # events deleted
setting Plugin.ZeroMQ_object_notifications_enable true      # objects deleted
setting Plugin.ZeroMQ_attribute_notifications_enable true   # attributes deleted, edited, to_ids off
setting Plugin.ZeroMQ_tag_notifications_enable true         # tags and TLP changed
setting Plugin.ZeroMQ_sighting_notifications_enable true    # false positives and expirations
setting Plugin.ZeroMQ_warninglist_notifications_enable true # warninglists changed

# Last, so that the publisher starts with all of the above.
setting Plugin.ZeroMQ_enable true

# Only for the webhook: MISP calls no address of our choice without it. MISP itself lets this one be
# set by command line only.
if [ "${RELAY_WEBHOOK:-}" = "true" ]; then
    setting Plugin.Workflow_enable true
    setting Security.rest_client_enable_arbitrary_urls true
fi
