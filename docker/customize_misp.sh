#!/bin/bash
# MISP's side of the relay, as commands. misp-docker runs this file at each start of misp-core when
# it is mounted at /custom/files/customize_misp.sh and executable (compose.misp.yaml does); it can as well
# be copied into the container and run by hand. Run again it changes nothing.
#
# One refused setting keeps no other from being set. The end lists what was refused, and the exit code is
# then 1; misp-docker goes on with either code.
set -uo pipefail

SECRETS=${RELAY_SECRETS:-/run/secrets}
refused=()

setting() {
    sudo -u www-data /var/www/MISP/app/Console/cake Admin setSetting -q "$1" "$2" && return
    refused+=("$1")
    return 1
}

# The feed. MISP binds to 127.0.0.1 by default, where no other container reaches it. The address is opened
# only if the feed has a password. MISP's publisher does not start with a username alone. cake takes the password
# as an argument: while it runs, whoever may list the processes of this container or of its host can read it.
password=$(cat "$SECRETS/zeromq_password") || password=
if [ -z "$password" ]; then
    refused+=("Plugin.ZeroMQ_host: $SECRETS/zeromq_password is empty or cannot be read, so the feed stays closed")
elif setting Plugin.ZeroMQ_password "$password" && setting Plugin.ZeroMQ_username relay; then
    setting Plugin.ZeroMQ_host 0.0.0.0
else
    refused+=("Plugin.ZeroMQ_host: the feed has no password, so it stays closed")
fi
setting Plugin.ZeroMQ_port 50000
setting Plugin.ZeroMQ_include_attachments false

# Publications come with the feed itself. Each of these is a withdrawal that would go unseen:
setting Plugin.ZeroMQ_event_notifications_enable true       # events deleted
setting Plugin.ZeroMQ_object_notifications_enable true      # objects deleted
setting Plugin.ZeroMQ_attribute_notifications_enable true   # attributes deleted, edited, to_ids off
setting Plugin.ZeroMQ_tag_notifications_enable true         # tags and TLP changed
setting Plugin.ZeroMQ_sighting_notifications_enable true    # false positives and expirations
setting Plugin.ZeroMQ_warninglist_notifications_enable true # warninglists changed

# Only for the webhook: MISP calls no address of our choice without it. MISP itself lets this one be
# set by command line only.
if [ "${RELAY_WEBHOOK:-}" = "true" ]; then
    setting Plugin.Workflow_enable true
    setting Security.rest_client_enable_arbitrary_urls true
fi

# Last, so that the publisher starts with all of the above.
setting Plugin.ZeroMQ_enable true

if [ "${#refused[@]}" -eq 0 ]; then
    echo "misp-sentinel-relay: MISP's settings for the relay are set"
    exit 0
fi
echo "misp-sentinel-relay: settings that are not set (MISP's reasons are above):"
printf '  %s\n' "${refused[@]}"
exit 1
