"""Memory of a browser: the proportional set size of its processes, and the files in its tmpfs home."""

from __future__ import annotations

from pathlib import Path

import psutil

from bench.subject import Direct, Subject
from bench.table import Row, median

MIB = 2**20


async def measure(subject: Subject, site: str) -> list[Row]:
    """Medians of the warm browsers, and of three leased ones with a page open."""
    await subject.warm()
    idle = [_pss(process) for process in subject.jails()]
    agents = [await subject.provision(initial_url=site) for _ in range(3)]
    leased, files = [], []
    for agent in agents:
        direct = await Direct.find(subject, agent)
        process = next(p for p in subject.jails() if direct.serves(p))
        direct.close()
        leased.append(_pss(process))
        files.append(_files(process))
        await subject.destroy(agent)
    return [
        Row("memory (PSS) of an idle browser", median(idle), "MiB"),
        Row("memory (PSS) of a leased browser, small page", median(leased), "MiB"),
        Row("files in a leased browser's memory-backed home", median(files), "MiB"),
    ]


def _pss(process: psutil.Process) -> float:
    family = [process, *process.children(recursive=True)]
    return sum(float(member.memory_full_info().pss) for member in family if member.is_running()) / MIB


def _files(process: psutil.Process) -> float:
    home = Path(f"/proc/{process.pid}/root/home/agent")
    return sum(entry.lstat().st_blocks * 512 for entry in home.rglob("*")) / MIB
