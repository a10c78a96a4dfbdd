// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/json"
	"maps"
	"regexp"
	"strconv"
	"strings"
)

const toolGitHub = "github"

// GitHub says how webhooks of GitHub are read.
type GitHub struct {
	// Workflows are the names of workflows, or the paths of their files, whose runs are deployments.
	Workflows []*regexp.Regexp
}

type ghEvent struct {
	Action     string        `json:"action"`
	Zen        string        `json:"zen"`
	Repository *ghRepository `json:"repository"`
	Deployment *ghDeployment `json:"deployment"`
	Status     *ghStatus     `json:"deployment_status"`
	Release    *ghRelease    `json:"release"`
	Run        *ghRun        `json:"workflow_run"`
	Workflow   *struct {
		Name string `json:"name"`
		Path string `json:"path"`
	} `json:"workflow"`
	Job   *ghHead `json:"workflow_job"`
	Check *ghHead `json:"check_run"`
	Ref   string  `json:"ref"`
	SHA   string  `json:"sha"`
}

type ghHead struct {
	ID      int64  `json:"id"`
	HeadSHA string `json:"head_sha"`
}

type ghRepository struct {
	Name     string `json:"name"`
	FullName string `json:"full_name"`
	HTMLURL  string `json:"html_url"`
}

type ghDeployment struct {
	ID          int64           `json:"id"`
	SHA         string          `json:"sha"`
	Ref         string          `json:"ref"`
	Task        string          `json:"task"`
	Environment string          `json:"environment"`
	Description string          `json:"description"`
	CreatedAt   string          `json:"created_at"`
	Payload     json.RawMessage `json:"payload"`
}

type ghStatus struct {
	ID          int64  `json:"id"`
	State       string `json:"state"`
	Description string `json:"description"`
	TargetURL   string `json:"target_url"`
	CreatedAt   string `json:"created_at"`
	UpdatedAt   string `json:"updated_at"`
}

type ghRelease struct {
	ID          int64  `json:"id"`
	TagName     string `json:"tag_name"`
	Target      string `json:"target_commitish"`
	HTMLURL     string `json:"html_url"`
	PublishedAt string `json:"published_at"`
}

type ghRun struct {
	ID         int64  `json:"id"`
	Attempt    int64  `json:"run_attempt"`
	Name       string `json:"name"`
	Path       string `json:"path"`
	HeadSHA    string `json:"head_sha"`
	HeadBranch string `json:"head_branch"`
	Status     string `json:"status"`
	Conclusion string `json:"conclusion"`
	HTMLURL    string `json:"html_url"`
	UpdatedAt  string `json:"updated_at"`
}

var commit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// Read reads one webhook. Event and delivery are the headers X-GitHub-Event and X-GitHub-Delivery. They are outside the signature, so the
// body alone makes a delivery idempotent.
func (g *GitHub) Read(event, delivery string, body []byte) ([]Message, error) {
	if err := required(field{"header X-GitHub-Event", event}); err != nil {
		return nil, err
	}
	var e ghEvent
	if err := decode(body, &e, false); err != nil {
		return nil, err
	}
	if event == "ping" {
		if e.Zen == "" {
			return nil, refuse(ReasonMissing, "a ping has zen")
		}
		return ignored(IgnoredPing), nil
	}
	read, ok := map[string]func(*GitHub, *ghEvent, *Change) (string, error){
		"deployment": (*GitHub).deployment, "deployment_status": (*GitHub).status, "release": (*GitHub).release, "workflow_run": (*GitHub).run,
		"workflow_job": (*GitHub).other, "check_run": (*GitHub).other, "push": (*GitHub).other, "status": (*GitHub).other,
	}[event]
	if !ok {
		return ignored(IgnoredUnknown), nil
	}
	if e.Repository == nil {
		return nil, refuse(ReasonMissing, "repository is required")
	}
	if err := required(field{"repository.full_name", e.Repository.FullName}, field{"repository.name", e.Repository.Name}); err != nil {
		return nil, err
	}
	owner, _, _ := strings.Cut(e.Repository.FullName, "/")
	if delivery == "" {
		delivery = digest(toolGitHub, string(body))
	}
	c := Change{
		Kind: Deployment, ID: delivery, Tool: toolGitHub, Service: e.Repository.Name, Key: digest(toolGitHub, string(body)),
		Attributes: map[string]string{
			"change.type": event, "vcs.provider.name": "github", "vcs.owner.name": owner, "vcs.repository.name": e.Repository.Name,
			"vcs.repository.url.full": e.Repository.HTMLURL, "change.origin": e.Repository.FullName,
		},
	}
	why, err := read(g, &e, &c)
	switch {
	case err != nil:
		return nil, err
	case why != "":
		return ignored(why), nil
	}
	return accepted(c), nil
}

func (c *Change) deploymentOf(d *ghDeployment) error {
	if d == nil {
		return refuse(ReasonMissing, "deployment is required")
	}
	if err := required(field{"deployment.environment", d.Environment}, field{"deployment.sha", d.SHA}); err != nil {
		return err
	}
	if d.ID <= 0 || !commit.MatchString(d.SHA) {
		return refuse(ReasonInvalid, "deployment.id and deployment.sha must be an id and a commit")
	}
	at, err := parseTime("deployment.created_at", d.CreatedAt)
	if err != nil {
		return err
	}
	c.Time, c.Action, c.Version, c.Environment, c.Message = at, "deploy", d.SHA, d.Environment, d.Description
	if strings.Contains(d.Task, "rollback") {
		c.Action = "rollback"
	}
	var payload struct {
		Service  string `json:"service"`
		Version  string `json:"version"`
		SignalID string `json:"signal_id"`
	}
	// The payload is the deployer's own: what is not of this shape is not ours.
	if json.Unmarshal(d.Payload, &payload) == nil {
		if payload.Service != "" {
			c.Service = payload.Service
		}
		if payload.Version != "" {
			c.Version = payload.Version
		}
		c.SignalID = payload.SignalID
	}
	c.Attributes["deployment.id"], c.Attributes["deployment.name"] = strconv.FormatInt(d.ID, 10), d.Task
	c.Attributes["vcs.ref.head.name"], c.Attributes["vcs.ref.head.revision"] = d.Ref, d.SHA
	return nil
}

func (*GitHub) deployment(e *ghEvent, c *Change) (string, error) {
	if err := c.deploymentOf(e.Deployment); err != nil {
		return "", err
	}
	if e.Action != "created" {
		return "", refuse(ReasonInvalid, "action %q is not one of deployment", clip(e.Action, 64))
	}
	c.State = Planned
	return "", nil
}

var ghStates = map[string]State{
	"success": Succeeded, "failure": Failed, "error": Failed, "in_progress": Started,
	"pending": "", "queued": "", "waiting": "", "inactive": "",
}

func (*GitHub) status(e *ghEvent, c *Change) (string, error) {
	if err := c.deploymentOf(e.Deployment); err != nil {
		return "", err
	}
	if e.Status == nil || e.Status.ID <= 0 {
		return "", refuse(ReasonMissing, "deployment_status with an id is required")
	}
	state, known := ghStates[e.Status.State]
	if !known {
		return "", refuse(ReasonInvalid, "deployment_status.state %q is not a state", clip(e.Status.State, 64))
	}
	text := e.Status.UpdatedAt
	if text == "" {
		text = e.Status.CreatedAt
	}
	at, err := parseTime("deployment_status.updated_at", text)
	if err != nil {
		return "", err
	}
	if state == "" {
		return IgnoredState, nil
	}
	c.Time, c.State, c.Attributes["change.url"] = at, state, e.Status.TargetURL
	if e.Status.Description != "" {
		c.Message = e.Status.Description
	}
	return "", nil
}

func (*GitHub) release(e *ghEvent, c *Change) (string, error) {
	r := e.Release
	if r == nil || r.ID <= 0 {
		return "", refuse(ReasonMissing, "release with an id is required")
	}
	if err := required(field{"release.tag_name", r.TagName}, field{"action", e.Action}); err != nil {
		return "", err
	}
	if e.Action != "published" {
		return IgnoredAction, nil
	}
	at, err := parseTime("release.published_at", r.PublishedAt)
	if err != nil {
		return "", err
	}
	// A release can be had; nobody said that it runs.
	c.Time, c.Action, c.State, c.Version = at, "release", Planned, r.TagName
	c.Attributes["change.url"], c.Attributes["vcs.ref.head.name"], c.Attributes["vcs.ref.head.type"] = r.HTMLURL, r.TagName, "tag"
	return "", nil
}

func (g *GitHub) run(e *ghEvent, c *Change) (string, error) {
	r := e.Run
	if r == nil || r.ID <= 0 {
		return "", refuse(ReasonMissing, "workflow_run with an id is required")
	}
	if !commit.MatchString(r.HeadSHA) {
		return "", refuse(ReasonInvalid, "workflow_run.head_sha is not a commit")
	}
	at, err := parseTime("workflow_run.updated_at", r.UpdatedAt)
	if err != nil {
		return "", err
	}
	name, path := r.Name, r.Path
	if e.Workflow != nil {
		name, path = e.Workflow.Name, e.Workflow.Path
	}
	if !g.deploys(name, path) {
		return IgnoredWorkflow, nil
	}
	var result string
	switch {
	case e.Action == "in_progress":
		c.State = Started
	case e.Action == "completed" && r.Conclusion == "success":
		c.State, result = Succeeded, "success"
	case e.Action == "completed" && (r.Conclusion == "failure" || r.Conclusion == "timed_out" || r.Conclusion == "startup_failure"):
		c.State, result = Failed, map[string]string{"failure": "failure", "timed_out": "timeout", "startup_failure": "error"}[r.Conclusion]
	default:
		return IgnoredState, nil
	}
	c.Time, c.Action, c.Version = at, "deploy", r.HeadSHA
	maps.Copy(c.Attributes, map[string]string{
		"cicd.pipeline.name": name, "cicd.pipeline.run.id": strconv.FormatInt(r.ID, 10), "cicd.pipeline.run.url.full": r.HTMLURL, "cicd.pipeline.result": result,
		"vcs.ref.head.name": r.HeadBranch, "vcs.ref.head.revision": r.HeadSHA,
	})
	return "", nil
}

func (g *GitHub) deploys(texts ...string) bool {
	for _, pattern := range g.Workflows {
		for _, text := range texts {
			if text != "" && pattern.MatchString(text) {
				return true
			}
		}
	}
	return false
}

// other checks events that tell of no change, so that a broken one is not taken for a right one.
func (*GitHub) other(e *ghEvent, c *Change) (string, error) {
	var ok bool
	switch c.Attributes["change.type"] {
	case "workflow_job":
		ok = e.Job != nil && e.Job.ID > 0
	case "check_run":
		ok = e.Check != nil && e.Check.ID > 0
	case "push":
		ok = e.Ref != ""
	case "status":
		ok = commit.MatchString(e.SHA)
	}
	if !ok {
		return "", refuse(ReasonMissing, "the object of a %s event is missing", c.Attributes["change.type"])
	}
	return IgnoredNotChange, nil
}
