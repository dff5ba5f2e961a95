"""Asserts on what the chart makes of its values: `helm template` read back.

chart.py HELM
"""

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "fuseboard"


def template(helm: str, *values: str) -> dict[str, dict]:
    """The objects by their kind."""
    sets = [word for value in values for word in ("--set", value)]
    command = [helm, "template", "prod", str(CHART), "--kube-version", "1.27.0", *sets]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise ValueError(made.stderr)
    return {it["kind"]: it for it in yaml.safe_load_all(made.stdout) if it}


def refuses(helm: str, told: str, *values: str) -> None:
    """Values that are taken, or refused for another reason, are a fault of the chart."""
    try:
        template(helm, *values)
    except ValueError as error:
        if told in str(error):
            return
        raise
    raise AssertionError(f"{values} is taken")


def pod(objects: dict[str, dict]) -> dict:
    return objects["StatefulSet"]["spec"]["template"]["spec"]


def check(objects: dict[str, dict]) -> None:
    """What holds whatever the values are."""
    stateful = objects["StatefulSet"]
    assert stateful["spec"]["replicas"] == 1, "one server at a time uses a data directory"
    assert stateful["spec"]["template"]["metadata"]["labels"].items() >= objects["Service"]["spec"]["selector"].items()
    spec = pod(objects)
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    named = {volume["name"] for volume in spec["volumes"]}
    named |= {claim["metadata"]["name"] for claim in stateful["spec"].get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in container["volumeMounts"]} == named, "every mount has its volume"


def main() -> None:
    (helm,) = sys.argv[1:]
    refuses(helm, "set tls.secretName, or tls.insecureNetwork")
    refuses(helm, "tls.clientCaSecretName needs tls.secretName", "tls.insecureNetwork=true", "tls.clientCaSecretName=a")
    refuses(helm, "additional properties 'tsl' not allowed", "tls.insecureNetwork=true", "tsl.secretName=a")

    plain = template(helm, "tls.insecureNetwork=true", "networkPolicy.enabled=true", "serviceMonitor.enabled=true")
    check(plain)
    assert pod(plain)["containers"][0]["readinessProbe"]["grpc"] == {"port": 50051}
    assert {"NetworkPolicy", "ServiceMonitor"} <= plain.keys()

    tls = template(helm, "tls.secretName=certificate", "adminToken.secretName=admin", "persistence.enabled=false")
    check(tls)
    (container,) = pod(tls)["containers"]
    variables = {it["name"] for it in container["env"]}
    assert variables == {"FUSEBOARD_TLS_CERT", "FUSEBOARD_TLS_KEY", "FUSEBOARD_ADMIN_TOKEN_FILE"}
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"

    mutual = template(helm, "tls.secretName=a", "tls.clientCaSecretName=b", "tls.clientAuth=required")
    check(mutual)
    assert "tcpSocket" in pod(mutual)["containers"][0]["readinessProbe"], "a probe has no certificate to show"

    manifests = [it for it in yaml.safe_load_all((ROOT / "deploy/kubernetes/fuseboard.yaml").read_text()) if it]
    check({it["kind"]: it for it in manifests})
    print("==> the chart and the manifests hold what they promise")


if __name__ == "__main__":
    main()
