#!/usr/bin/env bash
# Runs `countersign attest infrastructure` by the workflow's identity token. Everything comes by the environment, and each
# option is joined to its value, so that no value can be read as an option or by a shell.
set -euo pipefail

: "${CS_PLAN:?}" "${CS_ENVIRONMENT:?}" "${CS_WORKSPACE:?}" "${CS_HUB:?}" "${GITHUB_OUTPUT:?}" "${RUNNER_TEMP:?}"

proof="$(mktemp "$RUNNER_TEMP/countersign-XXXXXXXX.tlog-proof")"
arguments=(
  attest infrastructure --github-oidc
  "--plan=$CS_PLAN"
  "--phase=${CS_PHASE:-plan}"
  "--environment=$CS_ENVIRONMENT"
  "--workspace=$CS_WORKSPACE"
  "--hub=$CS_HUB"
  "--trust=${CS_TRUST:-trust.json}"
  "--audience=${CS_AUDIENCE:-countersign}"
  "--proof=$proof"
)
if [[ -n "${CS_CA:-}" ]]; then
  arguments+=("--ca=$CS_CA")
fi

said="$("${CS_PROGRAM:-countersign}" "${arguments[@]}")"
printf '%s\n' "$said"

if [[ ! "$said" =~ ^In\ the\ log\ as\ entry\ ([0-9]+): ]]; then
  echo "countersign did not say which entry it is" >&2
  exit 3
fi
{
  printf 'index=%s\n' "${BASH_REMATCH[1]}"
  printf 'proof=%s\n' "$proof"
} >> "$GITHUB_OUTPUT"
