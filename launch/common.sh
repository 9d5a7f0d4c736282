# What the scripts of this folder share: options, printing, running. Sourced.
# shellcheck shell=bash

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  echo "error: bash 4.4 or later is needed, this is $BASH_VERSION" >&2
  exit 2
fi

# Name -> value; a script puts its options and their defaults here. Those that
# are false by default are switches and take no value.
declare -A OPTION=([dry_run]=false)
COMMAND=()  # What followed --.
ACTION=     # The word before the options, where the script has ACTIONS.
ACTIONS=()

say() { printf '%s\n' "$*" >&2; }

# The input is wrong.
die() {
  say "error: $*"
  say '--help lists the options.'
  exit 2
}

# The arguments as one line that a shell reads back as they are.
quoted() {
  local word line=
  for word; do
    [[ $word =~ ^[[:alnum:]_@%+=:,./-]+$ ]] || word=${word@Q}
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

# Runs the arguments, or prints them in a dry run.
run() {
  if [[ ${OPTION[dry_run]} == true ]]; then
    quoted "$@"
  else
    say "+ $(quoted "$@")"
    "$@"
  fi
}

dry() { [[ ${OPTION[dry_run]} == true ]]; }

# Reads the script's arguments into ACTION, OPTION and COMMAND.
parse() {
  local name value
  for name in "$@"; do
    [[ $name == -- ]] && break
    if [[ $name == --help || $name == -h ]]; then
      # The comment that the script begins with.
      sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
      exit 0
    fi
  done
  if ((${#ACTIONS[@]})); then
    ACTION=${1:-}
    [[ " ${ACTIONS[*]} " == *" $ACTION "* && -n $ACTION ]] ||
      die "the first word is what to do, one of ${ACTIONS[*]}, not" \
        "'$ACTION'."
    shift
  fi
  while (($#)); do
    [[ $1 == -- ]] && { COMMAND=("${@:2}"); return; }
    [[ $1 == --* ]] || die "'$1' is no option; the command comes after --."
    name=${1#--} name=${name%%=*}
    [[ -n ${OPTION[$name]+known} ]] ||
      die "there is no option --$name; there are" \
        "$(printf '%s\n' "${!OPTION[@]}" | sort | paste -sd' ')."
    if [[ ${OPTION[$name]} == false || ${OPTION[$name]} == true ]]; then
      [[ $1 == *=* ]] && die "--$name takes no value."
      value=true
    elif [[ $1 == *=* ]]; then
      value=${1#*=}
    else
      (($# > 1)) || die "--$name needs a value."
      value=$2
      shift
    fi
    OPTION[$name]=$value
    shift
  done
}

# Dies unless each of these options has a value.
required() {
  local name
  for name; do
    [[ -n ${OPTION[$name]} ]] || die "--$name is required."
  done
}

# Dies unless the option is a whole number of at least a least one.
whole() {  # NAME LEAST
  local value=${OPTION[$1]}
  if ! [[ $value =~ ^(0|[1-9][0-9]{0,8})$ && $value -ge $2 ]]; then
    die "--$1 is a whole number from $2, not '$value'."
  fi
}

# Dies unless there is a command after --.
required_command() {
  ((${#COMMAND[@]})) || die 'give the command to run after --, as in' \
    '-- python -m bst_jax.train --config ... --workdir ...'
}

# Ends the command with flags, leaving out those that it already has.
add_flags() {
  local flag word
  for flag; do
    for word in "${COMMAND[@]}"; do
      [[ $word == "${flag%%=*}" || $word == "${flag%%=*}="* ]] && continue 2
    done
    COMMAND+=("$flag")
  done
}

# Ends the command with --compilation_cache, the option's or a default.
add_cache() {  # DEFAULT
  local cache=${OPTION[compilation_cache]:-$1}
  add_flags "--compilation_cache=$cache"  # Of none too: else there is one.
}
