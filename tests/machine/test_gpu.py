"""Which build of PyTorch suits a GPU's driver, and what the doctor says of the build that is here."""

import pytest
import torch

from synthlib.machine import devices
from synthlib.machine.gpu import Driver, advice, find_driver, suited_build


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A function that puts a program on the path which answers as ``nvidia-smi`` would."""

    def answer(lines, knows_capability=True):
        program = tmp_path / "nvidia-smi"
        refuse = "" if knows_capability else 'case "$1" in *compute_cap*) exit 2 ;; esac\n'
        program.write_text(f"#!/bin/sh\n{refuse}cat <<'END'\n{lines}\nEND\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return answer


def test_the_driver_and_the_least_capable_gpu_are_found(nvidia_smi, monkeypatch):
    nvidia_smi("580.95.05, NVIDIA H100 80GB HBM3, 9.0\n580.95.05, Tesla V100-SXM2-16GB, 7.0")
    assert find_driver() == Driver("580.95.05", "Tesla V100-SXM2-16GB", (7, 0))
    nvidia_smi("470.57.02, GeForce GTX 1080", knows_capability=False)
    assert find_driver() == Driver("470.57.02", "GeForce GTX 1080", None)
    monkeypatch.setenv("PATH", "")
    assert find_driver() is None


@pytest.mark.parametrize(
    ("driver", "build"),
    [
        (None, "cpu"),
        (Driver("580.95.05", "H100", (9, 0)), "cu130"),
        (Driver("580.95.05", "V100", (7, 0)), "cu126"),  # CUDA 13 has no kernels for it
        (Driver("550.54.14", "A100", (8, 0)), "cu126"),
        (Driver("470.57.02", "T4"), "cpu"),
    ],
)
def test_the_suited_build(driver, build):
    assert suited_build(driver) == build


@pytest.mark.skipif(torch.cuda.is_available(), reason="this torch drives the GPU that is here")
def test_a_gpu_that_this_build_cannot_drive_is_said_with_what_to_type(nvidia_smi, monkeypatch):
    nvidia_smi("550.54.14, NVIDIA A100-SXM4-40GB, 8.0")
    said = devices.describe_build()
    assert f"torch {torch.__version__} with" in said
    assert "cannot drive NVIDIA A100-SXM4-40GB (driver 550.54.14); run: make install TORCH=cu126" in said
    monkeypatch.setenv("SYNTHLIB_DEVICE", "cuda")
    with pytest.raises(ValueError, match="make install TORCH=cu126"):
        devices.chosen()


def test_a_driver_that_no_build_can_use_must_be_updated():
    assert advice(Driver("470.57.02", "T4")).startswith("update the GPU's driver to 580")
