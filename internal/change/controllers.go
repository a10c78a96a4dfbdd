// SPDX-License-Identifier: Apache-2.0

package change

import (
	"strconv"
	"strings"
	"time"
)

type flaggerHook struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Phase     string            `json:"phase"`
	Checksum  string            `json:"checksum"`
	Metadata  map[string]string `json:"metadata"`
}

// flaggerPhases maps the phases of a canary; those that are no step of a change are empty.
var flaggerPhases = map[string]State{
	"Progressing": Started, "Succeeded": Succeeded, "Failed": Failed,
	"Initializing": "", "Initialized": "", "Waiting": "", "WaitingPromotion": "", "Promoting": "", "Finalising": "", "Terminating": "", "Terminated": "",
}

// Flagger reads the hook of type event of a Flagger canary. Of the many events of a phase only the first counts.
func Flagger(body []byte) ([]Message, error) {
	var hook flaggerHook
	if err := decode(body, &hook, false); err != nil {
		return nil, err
	}
	if err := required(field{"name", hook.Name}, field{"namespace", hook.Namespace}, field{"phase", hook.Phase}); err != nil {
		return nil, err
	}
	state, known := flaggerPhases[hook.Phase]
	if !known {
		return nil, refuse(ReasonInvalid, "phase %q is not a phase of a canary", clip(hook.Phase, 64))
	}
	c := Change{Kind: Deployment, Tool: "flagger", Action: "deploy", State: state, Service: hook.Name, Namespace: hook.Namespace, Message: hook.Metadata["eventMessage"]}
	if text := hook.Metadata["timestamp"]; text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms <= 0 || ms > 9_000_000_000_000 {
			return nil, refuse(ReasonInvalid, "metadata.timestamp is not in milliseconds since 1970")
		}
		c.Time = time.UnixMilli(ms).UTC()
	}
	if state == "" {
		return ignored(IgnoredState), nil
	}
	c.Attributes = map[string]string{"change.type": hook.Phase, "change.revision": hook.Checksum, "deployment.name": hook.Name}
	c.slot("flagger", hook.Namespace, hook.Name, hook.Checksum+"/"+hook.Phase)
	return accepted(c), nil
}

// slot makes a change idempotent for a tool without event ids: what counts is that an object's state is another than before.
func (c *Change) slot(tool, namespace, name, value string) {
	c.Key, c.Value = digest(tool, namespace, name), clip(value, maxText)
	c.ID = digest(tool, namespace, name, value, c.Time.Format(time.RFC3339Nano))
}

// argoForm is what the documented templates of Argo's notifications send.
type argoForm struct {
	Name       string   `json:"name"`
	Namespace  string   `json:"namespace"`
	Phase      string   `json:"phase"`
	Revision   string   `json:"revision"`
	Time       string   `json:"time"`
	Message    string   `json:"message"`
	Images     []string `json:"images"`
	Repository string   `json:"repository"`
	Aborted    bool     `json:"aborted"`
}

var argoPhases = map[string]map[string]State{
	"argocd":        {"Running": Started, "Succeeded": Succeeded, "Failed": Failed, "Error": Failed, "Terminating": ""},
	"argo_rollouts": {"Progressing": Started, "Healthy": Succeeded, "Degraded": Failed, "Paused": ""},
}

// ArgoCD reads a notification of Argo CD in the documented template.
func ArgoCD(body []byte) ([]Message, error) { return argo("argocd", body) }

// ArgoRollouts reads a notification of Argo Rollouts in the documented template.
func ArgoRollouts(body []byte) ([]Message, error) { return argo("argo_rollouts", body) }

func argo(tool string, body []byte) ([]Message, error) {
	var form argoForm
	if err := decode(body, &form, true); err != nil {
		return nil, err
	}
	if err := required(field{"name", form.Name}, field{"phase", form.Phase}, field{"revision", form.Revision}); err != nil {
		return nil, err
	}
	state, known := argoPhases[tool][form.Phase]
	if !known {
		return nil, refuse(ReasonInvalid, "phase %q is not one of %s", clip(form.Phase, 64), tool)
	}
	c := Change{Kind: Deployment, Tool: tool, Action: "deploy", State: state, Service: form.Name, Namespace: form.Namespace, Message: form.Message}
	if form.Time != "" {
		at, err := parseTime("time", form.Time)
		if err != nil {
			return nil, err
		}
		c.Time = at
	}
	if state == "" {
		return ignored(IgnoredState), nil
	}
	if form.Aborted {
		c.Action = "rollback"
	}
	c.Version = form.Revision
	if len(form.Images) == 1 {
		if tag := imageTag(form.Images[0]); tag != "" {
			c.Version = tag
		}
	}
	c.Attributes = map[string]string{
		"change.type": form.Phase, "change.revision": form.Revision, "deployment.name": form.Name, "vcs.repository.url.full": form.Repository,
	}
	if tool == "argocd" {
		c.Attributes["vcs.ref.head.revision"] = form.Revision
	}
	value := form.Revision + "/" + form.Phase
	if tool == "argocd" {
		value += "/" + form.Time // a sync of the same revision is a change of its own
	}
	c.slot(tool, form.Namespace, form.Name, value)
	return accepted(c), nil
}

// imageTag returns the tag of a container image, or its digest when it has no tag.
func imageTag(image string) string {
	name, sum, _ := strings.Cut(image, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		return name[colon+1:]
	}
	return sum
}
