"""A Slurm of one node in a temporary folder: its own key, configuration, ports and state; nothing of the system's."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
LARGEST_ARRAY = 2
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that goes back into the queue waits for as long as this, usually 120 seconds.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ReturnToService=0
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MaxArraySize={largest_array}
NodeName={host} NodeAddr=127.0.0.1 CPUs=3
PartitionName=all Nodes={host} Default=YES MaxTime=60
"""


def why_not():
    """Why no Slurm can be started here, "" when it can."""
    if os.geteuid() != 0:
        return "only root can start a Slurm: make test-slurm as root, in a container for instance"
    if missing := [name for name in PROGRAMS if not _find(name)]:
        return f"no {', '.join(missing)} here: apt-get install slurm-wlm munge"
    return ""


@contextlib.contextmanager
def running(folder):
    """A context with the Slurm, which gives the environment of commands that talk to it. All of it ends with it."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    file = folder / "slurm.conf"
    ports = {"controller_port": _free_port(), "node_port": _free_port()}
    host = socket.gethostname().partition(".")[0]
    file.write_text(CONFIGURATION.format(host=host, folder=folder, largest_array=LARGEST_ARRAY, **ports))
    environment = os.environ | {"SLURM_CONF": str(file)}
    commands = [
        [
            *(_find("munged"), "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"),
            *(f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed", f"--log-file={folder}/munge.log"),
        ],
        [_find("slurmctld"), "-D", "-c", "-f", str(file)],
        [_find("slurmd"), "-D", "-c", "-f", str(file), "-N", host],
    ]
    with contextlib.ExitStack() as daemons:
        for number, command in enumerate(commands):
            log = daemons.enter_context(open(folder / f"daemon{number}.log", "w"))
            daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            daemons.callback(_end, daemon)
            if number == 0:
                _wait_for(lambda: (folder / "munge.socket").exists(), folder)
        daemons.callback(_end_jobs, environment)
        _wait_for(lambda: _ask(["sinfo", "--noheader", "--format=%T"], environment) == "idle", folder)
        yield environment


def steps_run():
    """Whether Slurm has processes of a job on this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"slurmstepd: ["):
                return True
    return False


def _wait_for(condition, folder, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            logs = "".join(path.read_text()[-1000:] for path in sorted(folder.glob("*.log")))
            raise RuntimeError(f"Slurm does not start:\n{logs}")
        time.sleep(0.2)


def _ask(command, environment):
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip()


def _end_jobs(environment):
    """Cancel what is left, so that no job outlives its Slurm."""
    subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True)
    deadline = time.monotonic() + 60
    while _ask(["squeue", "--noheader"], environment) and time.monotonic() < deadline:
        time.sleep(0.5)


def _end(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _find(name):
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
