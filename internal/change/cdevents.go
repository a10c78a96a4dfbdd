// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

const (
	cdPrefix       = "dev.cdevents."
	cdCustomPrefix = "dev.cdeventsx."
	toolCDEvents   = "cdevents"
)

var (
	cdVersion = regexp.MustCompile(`^0\.[456]\.\d+(-draft)?$`)
	cdType    = regexp.MustCompile(`^dev\.cdevents\.([a-z]+)\.([a-z]+)\.(\d+\.\d+\.\d+)(-draft)?$`)
	cdCustom  = regexp.MustCompile(`^dev\.cdeventsx\.[a-zA-Z0-9]+-[a-zA-Z]+\.[a-zA-Z]+\.\d+\.\d+\.\d+(-draft)?$`)
)

// cdPredicates lists what can happen to each subject of CDEvents 0.4 to 0.6.
var cdPredicates = map[string]string{
	"approval":     " created updated closed ",
	"artifact":     " packaged signed published downloaded deleted ",
	"branch":       " created deleted ",
	"build":        " queued started finished ",
	"change":       " created reviewed merged abandoned updated ",
	"environment":  " created modified deleted ",
	"incident":     " detected reported resolved ",
	"pipelinerun":  " queued started finished ",
	"repository":   " created modified deleted ",
	"service":      " deployed upgraded rolledback removed published ",
	"taskrun":      " started finished ",
	"testcaserun":  " queued started finished skipped ",
	"testoutput":   " published ",
	"testsuiterun": " queued started finished ",
	"ticket":       " created updated closed ",
}

var cdActions = map[string]string{
	"service.deployed": "deploy", "service.upgraded": "upgrade", "service.rolledback": "rollback", "service.removed": "remove",
	"service.published": "publish", "environment.created": "create", "environment.modified": "modify", "environment.deleted": "delete",
}

// What is read of an event that has the shape of one.
type cdEvent struct {
	Context *cdContext `json:"context"`
	Subject *cdSubject `json:"subject"`
}

type cdContext struct {
	ID        string `json:"id"`
	ChainID   string `json:"chainId"`
	Source    string `json:"source"`
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
}

type cdSubject struct {
	ID      string          `json:"id"`
	Content json.RawMessage `json:"content"`
}

type cdService struct {
	Environment *struct {
		ID string `json:"id"`
	} `json:"environment"`
	ArtifactID string `json:"artifactId"`
}

type cdEnvironment struct {
	Name string `json:"name"`
}

// CDEvent reads one CDEvent 0.4, 0.5 or 0.6 and checks it as the specification's schema of its type does: the members of context and
// subject, and the content of those that are changes.
func CDEvent(body []byte) ([]Message, error) {
	var document any
	if err := decode(body, &document, false); err != nil {
		return nil, err
	}
	subject, predicate, old, err := cdKind(document)
	if err != nil {
		return nil, err
	}
	if err := cdShape(old, subject, predicate).fits("", document); err != nil {
		return nil, err
	}
	var event cdEvent
	if err := decode(body, &event, false); err != nil {
		return nil, err
	}
	ctx := event.Context
	// What may not be empty may not be blank either: it names something.
	if err := required(field{"context.id", ctx.ID}, field{"context.source", ctx.Source}, field{"subject.id", event.Subject.ID}); err != nil {
		return nil, err
	}
	at, err := parseTime("context.timestamp", ctx.Timestamp)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(ctx.Type, cdCustomPrefix) {
		return ignored(IgnoredCustomType), nil
	}
	c := Change{
		ID: ctx.ID, Tool: toolCDEvents, Action: cdActions[subject+"."+predicate], State: Succeeded, Time: at, Key: digest(toolCDEvents, ctx.Source, ctx.ID),
		Attributes: map[string]string{"change.origin": ctx.Source, "change.chain_id": ctx.ChainID, "change.type": ctx.Type},
	}
	switch subject {
	case "service":
		return cdServiceChange(c, event.Subject)
	case "environment":
		return cdEnvironmentChange(c, event.Subject)
	}
	return ignored(IgnoredNotChange), nil
}

// cdKind returns what a CDEvent is about and what happened to it, empty for a custom type, and whether it is of version 0.4.
func cdKind(document any) (subject, predicate string, old bool, err error) {
	event, _ := document.(map[string]any)
	ctx, ok := event["context"].(map[string]any)
	if !ok {
		return "", "", false, refuse(ReasonMissing, "a CDEvent has context and subject")
	}
	name, _ := ctx["type"].(string)
	version, later := ctx["specversion"].(string)
	if !later {
		version, _ = ctx["version"].(string)
	}
	if err := required(field{"context.specversion or context.version", version}, field{"context.type", name}); err != nil {
		return "", "", false, err
	}
	if !cdVersion.MatchString(version) {
		return "", "", false, refuse(ReasonVersion, "CDEvents %q is not 0.4, 0.5 or 0.6", clip(version, 32))
	}
	if strings.HasPrefix(name, cdCustomPrefix) {
		if !cdCustom.MatchString(name) {
			return "", "", false, refuse(ReasonUnknownType, "%q is not a custom type of CDEvents", clip(name, maxText))
		}
		return "", "", !later, nil
	}
	parts := cdType.FindStringSubmatch(name)
	if parts == nil || !strings.Contains(cdPredicates[parts[1]], " "+parts[2]+" ") {
		return "", "", false, refuse(ReasonUnknownType, "%q is not a type of CDEvents", clip(name, maxText))
	}
	return parts[1], parts[2], !later, nil
}

func cdServiceChange(c Change, subject *cdSubject) ([]Message, error) {
	var content cdService
	if err := decode(subject.Content, &content, false); err != nil {
		return nil, err
	}
	if content.Environment != nil {
		c.Environment = content.Environment.ID
	}
	if content.ArtifactID != "" {
		artifact, err := packageVersion(content.ArtifactID)
		if err != nil {
			return nil, err
		}
		c.Version = artifact
		c.Attributes["change.artifact.id"] = content.ArtifactID
	}
	c.Kind, c.Service = Deployment, subject.ID
	return accepted(c), nil
}

func cdEnvironmentChange(c Change, subject *cdSubject) ([]Message, error) {
	var content cdEnvironment
	if err := decode(subject.Content, &content, false); err != nil {
		return nil, err
	}
	c.Kind, c.Environment = Configuration, subject.ID
	c.Attributes["change.environment.title"] = content.Name
	return accepted(c), nil
}

// packageVersion returns the version a package URL names: its tag if it has one, else its version.
func packageVersion(purl string) (string, error) {
	rest, ok := strings.CutPrefix(purl, "pkg:")
	if !ok {
		return "", refuse(ReasonInvalid, "artifactId is not a package URL")
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	if qualifiers, err := url.ParseQuery(query); err == nil && qualifiers.Get("tag") != "" {
		return qualifiers.Get("tag"), nil
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return "", nil
	}
	version, err := url.PathUnescape(rest[at+1:])
	if err != nil {
		return "", refuse(ReasonInvalid, "artifactId is not a package URL")
	}
	return version, nil
}
