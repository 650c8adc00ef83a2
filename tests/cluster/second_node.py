"""A second node of a local Ray, for as long as standard input is open: ``python -m tests.cluster.second_node ADDRESS``."""

import sys

from ray._private.node import Node
from ray._private.parameter import RayParams


def main() -> None:
    about = RayParams(
        gcs_address=sys.argv[1],
        node_ip_address="127.0.0.1",
        num_cpus=1,
        object_store_memory=80 << 20,
        min_worker_port=0,
        max_worker_port=0,
        node_manager_port=0,
        include_log_monitor=False,
    )
    about.dashboard_agent_listen_port = None
    node = Node(about, head=False, shutdown_at_exit=True, spawn_reaper=False)
    print("up", flush=True)
    sys.stdin.read()
    node.kill_all_processes(check_alive=False)


if __name__ == "__main__":
    main()
