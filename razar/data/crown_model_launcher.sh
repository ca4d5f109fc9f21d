#!/bin/sh
# Starts GLM-4.1V behind an OpenAI-compatible server on loopback and leaves it running.
#
# usage: crown_model_launcher.sh [MODEL]     MODEL: the capability asked for (GLM-4.1V)
#
# vLLM is used where it is installed, otherwise its Docker image. A model that already answers on
# the port is success; one that is still loading is waited for, not started twice.
#
#   GLM_MODEL        weights to serve (zai-org/GLM-4.1V-9B-Thinking)
#   GLM_NAME         name it is served under beside that of the weights (GLM-4.1V)
#   GLM_PORT         TCP port on 127.0.0.1 (8741)
#   GLM_WAIT         seconds to wait until it answers (600)
#   GLM_ENGINE       auto, vllm or docker (auto)
#   GLM_ARGS         more arguments for "vllm serve", split at spaces
#   GLM_IMAGE        Docker image (vllm/vllm-openai:latest)
#   GLM_DOCKER_ARGS  arguments for "docker run", split at spaces (--gpus all)
#   GLM_STATE_DIR    folder for glm-PORT.pid and glm-PORT.log (~/.local/state/razar/models)
#   HF_HOME          cache of the weights (~/.cache/huggingface)
#   HF_TOKEN         access to the weights; handed on in the environment only
#   VLLM_API_KEY     key the server shall ask for; handed on in the environment only
#
# exit: 0 the model answers, 1 it could not be started, 64 bad usage, 69 something is missing,
#       75 it is still loading and was left to it
set -u
umask 027

model=${GLM_MODEL:-zai-org/GLM-4.1V-9B-Thinking}
name=${GLM_NAME:-GLM-4.1V}
port=${GLM_PORT:-8741}
wait=${GLM_WAIT:-600}
engine=${GLM_ENGINE:-auto}
image=${GLM_IMAGE:-vllm/vllm-openai:latest}
state=${GLM_STATE_DIR:-${XDG_STATE_HOME:-${HOME:-/tmp}/.local/state}/razar/models}
cache=${HF_HOME:-${HOME:-/root}/.cache/huggingface}
container=razar-glm-$port
pidfile=$state/glm-$port.pid
log=$state/glm-$port.log
url=http://127.0.0.1:$port

say() { printf '%s\n' "$*"; }

fail() {
    status=$1
    shift
    say "$@" >&2
    exit "$status"
}

is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac; }

# GET a path of the server. The key goes through stdin: arguments are visible to everybody.
ask() {
    if [ -n "${VLLM_API_KEY:-}" ]; then
        printf 'header = "Authorization: Bearer %s"\n' "$VLLM_API_KEY" |
            curl -q --config - --silent --fail --max-time 3 --noproxy '*' "$url$1"
    else
        curl -q --silent --fail --max-time 3 --noproxy '*' "$url$1"
    fi
}

serving() {
    ask /health >/dev/null 2>&1 || return 1
    models=$(ask /v1/models 2>/dev/null) || return 1
    case $models in *"\"$name\""* | *"\"$model\""*) return 0 ;; esac
    return 1
}

# When a process was started, in whatever unit the system has; nothing if it has ended.
born() {
    if [ -r /proc/self/stat ]; then
        awk '{ sub(/.*[)] /, ""); if ($1 != "Z") print $20 }' "/proc/$1/stat" 2>/dev/null
    else
        ps -p "$1" -o lstart= 2>/dev/null
    fi
}

# Whether the process in the pid file is the server we started, not one that got its pid later.
ours() {
    { read -r pid; read -r start; } 2>/dev/null <"$pidfile" || return 1
    is_number "$pid" && [ -n "$start" ] && [ "$(born "$pid")" = "$start" ]
}

container_runs() {
    [ "$(docker inspect --format '{{.State.Running}}' "$container" 2>/dev/null)" = true ]
}

docker_works() { command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1; }

start_vllm() {
    # A session of its own, so that the server outlives this script and the terminal; RAZAR_KEEP
    # tells a supervisor that cleans up behind its children to spare it.
    detach=$(command -v setsid || command -v nohup)
    # shellcheck disable=SC2086 # split on purpose
    RAZAR_KEEP=1 "$detach" vllm serve "$model" --host 127.0.0.1 --port "$port" \
        --served-model-name "$name" "$model" ${GLM_ARGS:-} >>"$log" 2>&1 </dev/null &
    pid=$!
    printf '%s\n%s\n' "$pid" "$(born "$pid")" >"$pidfile"
    say "starting $model with vLLM: pid $pid, log $log"
}

start_container() {
    if [ -z "${GLM_DOCKER_ARGS+set}" ] && ! command -v nvidia-smi >/dev/null 2>&1; then
        fail 69 "No NVIDIA driver was found (nvidia-smi), and $model needs a GPU with 24 GB of memory." \
            "Install the driver and the NVIDIA Container Toolkit," \
            "or set GLM_DOCKER_ARGS and GLM_IMAGE for other hardware."
    fi
    docker rm --force "$container" >/dev/null 2>&1
    mkdir -p "$cache"
    # "--env NAME" without a value takes it from our environment.
    # shellcheck disable=SC2086 # split on purpose
    docker run --detach --name "$container" ${GLM_DOCKER_ARGS-"--gpus all"} --shm-size 8g \
        --publish "127.0.0.1:$port:8000" --volume "$cache:/root/.cache/huggingface" \
        --env HF_TOKEN --env VLLM_API_KEY \
        "$image" --model "$model" --served-model-name "$name" "$model" ${GLM_ARGS:-} >/dev/null ||
        fail 1 "docker could not start $image (see above)"
    say "starting $model in the container $container, log: docker logs $container"
}

alive() { if [ "$engine" = docker ]; then container_runs; else ours; fi; }

last_lines() { if [ "$engine" = docker ]; then docker logs --tail 20 "$container"; else tail -n 20 "$log"; fi; }

case ${1:-GLM-4.1V} in
[Gg][Ll][Mm][-_]4.1[Vv]*) ;;
*)
    [ -n "${GLM_MODEL:-}" ] || fail 64 "This launcher starts GLM-4.1V. For $1 set GLM_MODEL and GLM_NAME," \
        "or name another launcher as crown.model_launcher in boot_config.json."
    ;;
esac
is_number "$port" || fail 64 "GLM_PORT is '$port': expected a number"
is_number "$wait" || fail 64 "GLM_WAIT is '$wait': expected a number of seconds"
case ${VLLM_API_KEY:-} in *[!A-Za-z0-9._~+/=-]*) fail 64 "VLLM_API_KEY holds a character a bearer token cannot have" ;; esac
case $engine in auto | vllm | docker) ;; *) fail 64 "GLM_ENGINE is '$engine': expected auto, vllm or docker" ;; esac
command -v curl >/dev/null 2>&1 ||
    fail 69 "curl is missing: it is needed to see whether the model answers. Install the package curl."

if serving; then
    say "$name already answers at $url"
    exit 0
fi
until=$(($(date +%s) + wait))
mkdir -p "$state" || fail 1 "cannot make the folder $state"

if ours; then
    engine=vllm
    say "$model is already being loaded: pid $pid, log $log"
elif [ "$engine" != vllm ] && docker_works && container_runs; then
    engine=docker
    say "$model is already being loaded in the container $container"
else
    curl -q --silent --max-time 3 --noproxy '*' --output /dev/null "$url/"
    # 7: nobody listens there.
    [ $? -eq 7 ] || fail 1 "Port $port is taken by something that does not serve $name. Set GLM_PORT to a free one."
    if [ "$engine" != docker ] && command -v vllm >/dev/null 2>&1; then
        engine=vllm
        start_vllm
    elif [ "$engine" != vllm ] && docker_works; then
        engine=docker
        start_container
    elif [ "$engine" != vllm ] && command -v docker >/dev/null 2>&1; then
        fail 69 "Docker is installed, but its engine does not answer, and vLLM is not installed." \
            "Start the engine (systemctl start docker), or install vLLM: uv tool install vllm"
    elif [ "$engine" = vllm ]; then
        fail 69 "vLLM is not installed. Install it: uv tool install vllm"
    else
        fail 69 "Neither vLLM nor Docker is installed; one of them is needed to serve $model." \
            "Install vLLM: uv tool install vllm. Or Docker: see docs.docker.com/engine/install"
    fi
fi

while :; do
    if serving; then
        say "$name answers at $url"
        exit 0
    fi
    if ! alive; then
        last_lines
        fail 1 "$model ended before it answered; its last lines are above"
    fi
    [ "$(date +%s)" -lt "$until" ] || fail 75 "$name does not answer after $wait s; it goes on loading (log: $log)"
    sleep 1
done
