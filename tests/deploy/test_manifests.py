"""Static checks of what runs in containers: shape, commands, users, paths and limits that must agree."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from dask.utils import parse_bytes

from tests.deploy.shipped import DEPLOY, read
from xpcs_dask.cluster.connect import parse

SCHEMAS = Path(__file__).parent / "schemas"
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text())
CLUSTER, POLICY = yaml.safe_load_all((DEPLOY / "kubernetes" / "cluster.yaml").read_text())
JOB = yaml.safe_load((DEPLOY / "kubernetes" / "job.yaml").read_text())
PODS = {
    "worker": CLUSTER["spec"]["worker"]["spec"],
    "scheduler": CLUSTER["spec"]["scheduler"]["spec"],
    "fit": JOB["spec"]["template"]["spec"],
}


def validator(name):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def of_kind(manifest):
    """Validate against one kind, for messages that say what is wrong."""
    found = validator("kubernetes")
    return found.evolve(schema={**found.schema, "$ref": f"#/$defs/{manifest['kind']}", "oneOf": [{}]})


def numbers(text):
    return [int(number) for number in text.split(":")]


class TestSchemas:
    @pytest.mark.parametrize("manifest", [CLUSTER, POLICY, JOB], ids=lambda m: m["kind"])
    def test_kubernetes(self, manifest):
        of_kind(manifest).validate(manifest)

    def test_compose(self):
        validator("compose").validate(COMPOSE)

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("spec.template.spec.restartPolicy", "OnFailure"),
            ("spec.template.spec.containers.0.command", "xpcs-dask"),
            ("spec.template.spec.containers.0.resources.limits.memory", "4G i"),
            ("spec.template.spec.securityContext.runAsUser", 0),
            ("spec.podFailurePolicy.rules.0.action", "Fail"),
            ("spec.backofLimit", 3),
        ],
    )
    def test_mistakes_are_seen(self, path, value):
        wrong = copy.deepcopy(JOB)
        *outer, name = path.split(".")
        place = wrong
        for step in outer:
            place = place[int(step) if step.isdecimal() else step]
        place[name] = value
        assert list(of_kind(wrong).iter_errors(wrong))


class TestDocker:
    def test_stages_copy_what_there_is_and_the_program_is_on_the_path(self):
        stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", DOCKERFILE, re.M)
        assert [name for _, name in stages] == ["build", ""]
        assert all(re.fullmatch(r"python:3\.\d+-slim", image) for image, _ in stages)
        assert len({image for image, _ in stages}) == 1  # an environment of another Python would not run
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M):
            for source in sources.split():
                assert (DEPLOY.parent / source).exists(), source
        [(origin, target)] = re.findall(r"^COPY --from=build (\S+) (\S+)$", DOCKERFILE, re.M)
        assert origin == target  # a virtual environment cannot be moved
        assert f"PATH={target}/bin:$PATH" in DOCKERFILE

    def test_what_is_copied_is_not_ignored(self):
        kept = {
            line[1:]
            for line in (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
            if line[0] == "!"
        }
        copied = {
            s.removeprefix("./")
            for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
            for s in line.split()
        }
        assert kept == copied

    def test_the_package_can_be_built_from_what_is_copied(self):
        import tomllib

        project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())
        copied = " ".join(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)).split()
        needed = [project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"]
        assert {*needed, *project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]} <= set(copied)
        [extras] = re.findall(r'"\.\[([\w,]+)\]"', DOCKERFILE)
        assert set(extras.split(",")) <= project["project"]["optional-dependencies"].keys()
        [python] = set(re.findall(r"python:3\.(\d+)", DOCKERFILE))
        assert int(python) >= int(project["project"]["requires-python"].removeprefix(">=3."))

    def test_nothing_runs_as_root(self):
        [uid] = re.findall(r"--uid (\d+)", DOCKERFILE)
        user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.M)
        assert user == [(uid, uid)]
        assert not re.search(r"^(RUN|COPY|ADD) ", DOCKERFILE.split("\nUSER ")[1], re.M)
        for service in COMPOSE["services"].values():
            assert service["user"] == f"${{XPCS_USER:-{uid}:{uid}}}"
            assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
        for pod in PODS.values():
            assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (int(uid), True)

    def test_the_default_command_is_one(self):
        [command] = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.M)
        words = json.loads(command)
        assert words[0] == "xpcs-dask"
        assert f'{words[0]} = "xpcs_dask.cli:main"' in (DEPLOY.parent / "pyproject.toml").read_text()
        assert words[1:] == ["--help"]


class TestCompose:
    services = COMPOSE["services"]

    def test_image_and_build_agree(self):
        assert {service["image"] for service in self.services.values()} == {"${XPCS_IMAGE:-xpcs-dask:latest}"}
        build = self.services["scheduler"]["build"]
        root = (DEPLOY / "docker" / build["context"]).resolve()
        assert root == DEPLOY.parent
        assert (root / build["dockerfile"]).read_text() == DOCKERFILE

    def test_commands_are_what_the_programs_take(self):
        scheduler, worker, driver = (read(self.services[name]["command"]) for name in ("scheduler", "worker", "driver"))
        assert driver["verb"] == "fit"
        assert driver["scheduler"] == worker["scheduler"] == f"tcp://scheduler:{scheduler['port']}"
        assert parse(driver["scheduler"]).kind == "address"
        assert (worker["n_workers"], worker["nthreads"]) == ("1", 1)

    def test_workers_end_before_the_container_does(self):
        worker = self.services["worker"]
        limit = parse_bytes(read(worker["command"])["memory_limit"])
        whole = parse_bytes(worker["mem_limit"].replace("g", "GiB"))
        assert 0.85 * whole < limit <= 0.9 * whole

    def test_data_are_in_the_same_place_everywhere(self):
        mounts = {json.dumps(service["volumes"]) for service in self.services.values()}
        assert len(mounts) == 1
        targets = {volume["target"] for volume in json.loads(mounts.pop())}
        driver, worker = read(self.services["driver"]["command"]), read(self.services["worker"]["command"])
        assert str(driver["output"]).startswith("/data/")
        assert targets == {"/data", worker["local_directory"], "/tmp"}
        assert re.search(r"^WORKDIR /data$", DOCKERFILE, re.M)
        assert f"install -d -m 1777 {worker['local_directory']}" in DOCKERFILE

    def test_the_dashboard_is_for_this_machine_only(self):
        scheduler = self.services["scheduler"]
        [port] = scheduler["ports"]
        _, inner = numbers(port.removeprefix("127.0.0.1:"))
        assert read(scheduler["command"])["dashboard_address"] == f":{inner}"
        assert f"http://127.0.0.1:{inner}/health" in scheduler["healthcheck"]["test"][-1]
        compile(scheduler["healthcheck"]["test"][-1], "healthcheck", "exec")

    def test_what_is_waited_for_exists(self):
        for service in self.services.values():
            assert service.get("depends_on", {}).keys() <= self.services.keys()
            assert set(service["networks"]) <= COMPOSE["networks"].keys()


class TestKubernetes:
    def test_commands_are_what_the_programs_take(self):
        words = {name: read(pod["containers"][0]["args"]) for name, pod in PODS.items()}
        [port] = [p for p in CLUSTER["spec"]["scheduler"]["service"]["ports"] if p["name"] == "tcp-comm"]
        assert int(words["scheduler"]["port"]) == port["port"]
        assert words["fit"]["verb"] == "fit"
        # The operator names the service after the cluster.
        assert words["fit"]["scheduler"] == f"tcp://{CLUSTER['metadata']['name']}-scheduler:{port['port']}"
        assert words["worker"]["name"] == "$(DASK_WORKER_NAME)"  # by which the operator knows its pods

    def test_ports_agree(self):
        scheduler = PODS["scheduler"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in scheduler["ports"]}
        told = read(scheduler["args"])
        assert ports == {"tcp-comm": int(told["port"]), "http-dashboard": int(told["dashboard_address"].strip(":"))}
        for port in CLUSTER["spec"]["scheduler"]["service"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
        for probe in ("readinessProbe", "livenessProbe"):
            assert scheduler[probe]["httpGet"]["port"] in ports
        worker = PODS["worker"]["containers"][0]
        assert [p["containerPort"] for p in worker["ports"]] == [int(read(worker["args"])["dashboard_address"])]

    def test_one_image_and_the_same_files_everywhere(self):
        containers = [pod["containers"][0] for pod in PODS.values()]
        assert {container["image"] for container in containers} == {"xpcs-dask:latest"}
        for pod in PODS.values():
            volumes = {volume["name"] for volume in pod["volumes"]}
            assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == volumes
            claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
            assert claims == ["xpcs-data"]
            assert {m["mountPath"] for m in pod["containers"][0]["volumeMounts"]} == {"/data", "/scratch", "/tmp"}

    def test_workers_end_before_the_pod_does(self):
        worker = PODS["worker"]["containers"][0]
        whole = parse_bytes(worker["resources"]["limits"]["memory"] + "B")
        assert 0.85 * whole < parse_bytes(read(worker["args"])["memory_limit"]) <= 0.9 * whole
        assert worker["resources"]["requests"]["memory"] == worker["resources"]["limits"]["memory"]

    def test_only_these_pods_reach_the_cluster(self):
        cluster = {"dask.org/cluster-name": CLUSTER["metadata"]["name"]}
        assert POLICY["spec"]["podSelector"]["matchLabels"] == cluster
        [rule] = POLICY["spec"]["ingress"]
        allowed = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
        assert allowed == [cluster, JOB["spec"]["template"]["metadata"]["labels"]]
        selector = CLUSTER["spec"]["scheduler"]["service"]["selector"]
        assert selector == cluster | {"dask.org/component": "scheduler"}

    def test_exit_codes_are_those_of_the_program(self):
        """What would fail again fails the Job; what goes on is tried again."""
        from xpcs_dask import errors
        from xpcs_dask.cli.exits import INTERRUPTED, MEMORY

        by_action = {}
        for rule in JOB["spec"]["podFailurePolicy"]["rules"]:
            if codes := rule.get("onExitCodes"):
                assert codes["containerName"] == PODS["fit"]["containers"][0]["name"]
                by_action[rule["action"]] = set(codes["values"])
        hopeless = (errors.ConfigError, errors.NoUsableInputError, errors.StrictError, errors.OutputExistsError)
        assert by_action["FailJob"] == {MEMORY, *(error.exit_code for error in hopeless)}
        assert by_action["Ignore"] == {INTERRUPTED}
        assert errors.SchedulerError.exit_code not in by_action["FailJob"]
