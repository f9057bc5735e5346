"""What the target's torch sees: its version, and each device with what tells it from the others."""

from . import accelerator as acc


def describe(report):
    """One result per device; `detail` holds its properties."""
    torch = acc.torch()
    built = {"torch": torch.__version__, "cuda": torch.version.cuda, "hip": getattr(torch.version, "hip", None)}
    found = []
    for kind in acc.TYPES:
        module = getattr(torch, kind, None)
        if module is None or not module.is_available():
            continue
        found += [dict(kind=kind, index=n, **properties(module, n)) for n in range(module.device_count())]
    found.append({"kind": "cpu", "index": 0, "name": "CPU", "threads": torch.get_num_threads()})
    report.send("result", name="devices", build=built, devices=found)


def properties(module, index):
    """Name, memory, and where they are known the address, the capability, the number of multiprocessors and the L2 cache."""
    seen = module.get_device_properties(index)
    out = {"name": str(seen.name), "memory_bytes": int(seen.total_memory)}
    for name in ("multi_processor_count", "L2_cache_size"):
        if hasattr(seen, name):
            out[name.lower()] = int(getattr(seen, name))
    if hasattr(seen, "major"):
        out["compute_capability"] = "%d.%d" % (seen.major, seen.minor)
    if all(hasattr(seen, "pci_%s_id" % part) for part in ("domain", "bus", "device")):
        out["pci_address"] = "%04x:%02x:%02x.0" % (seen.pci_domain_id, seen.pci_bus_id, seen.pci_device_id)
    if hasattr(seen, "uuid"):
        out["uuid"] = str(seen.uuid)
    return out
