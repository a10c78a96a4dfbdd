// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/base64"
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
	cdCustom  = regexp.MustCompile(`^dev\.cdeventsx\.[a-z0-9]+-[a-z]+\.[a-z]+\.\d+\.\d+\.\d+(-draft)?$`)
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

type cdEvent struct {
	Context               *cdContext      `json:"context"`
	Subject               *cdSubject      `json:"subject"`
	CustomData            json.RawMessage `json:"customData"`
	CustomDataContentType *string         `json:"customDataContentType"`
}

type cdContext struct {
	Version     string `json:"version"`     // up to 0.5
	SpecVersion string `json:"specversion"` // from 0.5 on
	ID          string `json:"id"`
	ChainID     string `json:"chainId"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Timestamp   string `json:"timestamp"`
	SchemaURI   string `json:"schemaUri"`
	Links       []struct {
		LinkType string            `json:"linkType"`
		LinkKind string            `json:"linkKind"`
		Target   *cdLinked         `json:"target"`
		From     *cdLinked         `json:"from"`
		Tags     map[string]string `json:"tags"`
	} `json:"links"`
}

type cdLinked struct {
	ContextID string `json:"contextId"`
	DomainID  string `json:"domainId"`
}

type cdSubject struct {
	ID      string          `json:"id"`
	Source  string          `json:"source"`
	Type    string          `json:"type"` // up to 0.4
	Content json.RawMessage `json:"content"`
}

type cdReference struct {
	ID     string `json:"id"`
	Source string `json:"source"`
}

type cdService struct {
	Environment *cdReference `json:"environment"`
	ArtifactID  string       `json:"artifactId"`
}

type cdEnvironment struct {
	Name string `json:"name"`
	URI  string `json:"uri"`
	URL  string `json:"url"`
}

// CDEvent reads one CDEvent 0.4, 0.5 or 0.6 and checks it: the members of context and subject, and the content of those that are changes,
// with the fields, types and required members of the specification, and none besides.
func CDEvent(body []byte) ([]Message, error) {
	var event cdEvent
	if err := decode(body, &event, true); err != nil {
		return nil, err
	}
	if event.Context == nil || event.Subject == nil {
		return nil, refuse(ReasonMissing, "a CDEvent has context and subject")
	}
	ctx, subject := event.Context, event.Subject
	version := ctx.SpecVersion
	if version == "" {
		version = ctx.Version
	}
	if err := required(
		field{"context.specversion or context.version", version}, field{"context.id", ctx.ID}, field{"context.source", ctx.Source},
		field{"context.type", ctx.Type}, field{"context.timestamp", ctx.Timestamp}, field{"subject.id", subject.ID},
	); err != nil {
		return nil, err
	}
	if !cdVersion.MatchString(version) {
		return nil, refuse(ReasonVersion, "CDEvents %q is not 0.4, 0.5 or 0.6", clip(version, 32))
	}
	at, err := parseTime("context.timestamp", ctx.Timestamp)
	if err != nil {
		return nil, err
	}
	if err := ctx.check(); err != nil {
		return nil, err
	}
	if err := checkCustomData(event.CustomData); err != nil {
		return nil, err
	}
	var content map[string]json.RawMessage
	if err := decode(subject.Content, &content, false); err != nil || content == nil {
		return nil, refuse(ReasonSchema, "subject.content must be an object")
	}
	if strings.HasPrefix(ctx.Type, cdCustomPrefix) {
		if !cdCustom.MatchString(ctx.Type) {
			return nil, refuse(ReasonUnknownType, "%q is not a custom type of CDEvents", clip(ctx.Type, maxText))
		}
		return ignored(IgnoredCustomType), nil
	}
	parts := cdType.FindStringSubmatch(ctx.Type)
	if parts == nil || !strings.Contains(cdPredicates[parts[1]], " "+parts[2]+" ") {
		return nil, refuse(ReasonUnknownType, "%q is not a type of CDEvents", clip(ctx.Type, maxText))
	}
	if subject.Type != "" && !strings.EqualFold(subject.Type, parts[1]) {
		return nil, refuse(ReasonMismatch, "subject.type %q is not that of %q", clip(subject.Type, 64), clip(ctx.Type, maxText))
	}
	c := Change{
		ID: ctx.ID, Tool: toolCDEvents, Action: cdActions[parts[1]+"."+parts[2]], State: Succeeded, Time: at, Key: digest(toolCDEvents, ctx.Source, ctx.ID),
		Attributes: map[string]string{"change.origin": ctx.Source, "change.chain_id": ctx.ChainID, "change.type": ctx.Type},
	}
	switch parts[1] {
	case "service":
		return cdServiceChange(c, subject, parts[2])
	case "environment":
		return cdEnvironmentChange(c, subject)
	}
	return ignored(IgnoredNotChange), nil
}

// checkCustomData refuses what is neither an object nor text in base64.
func checkCustomData(data json.RawMessage) error {
	if len(data) == 0 || data[0] == '{' {
		return nil
	}
	var text string
	if data[0] != '"' || json.Unmarshal(data, &text) != nil {
		return refuse(ReasonSchema, "customData must be an object or text in base64")
	}
	if _, err := base64.StdEncoding.DecodeString(text); err != nil {
		return refuse(ReasonSchema, "customData must be an object or text in base64")
	}
	return nil
}

func (c *cdContext) check() error {
	if c.SchemaURI != "" {
		if u, err := url.Parse(c.SchemaURI); err != nil || !u.IsAbs() {
			return refuse(ReasonInvalid, "context.schemaUri is not an absolute URI")
		}
	}
	if _, err := url.Parse(c.Source); err != nil {
		return refuse(ReasonInvalid, "context.source is not a URI reference")
	}
	for _, link := range c.Links {
		switch link.LinkType {
		case "RELATION", "PATH", "END", "START":
		default:
			return refuse(ReasonSchema, "context.links: linkType %q is not RELATION, PATH, START or END", clip(link.LinkType, 64))
		}
	}
	return nil
}

func cdServiceChange(c Change, subject *cdSubject, predicate string) ([]Message, error) {
	var content cdService
	if err := decode(subject.Content, &content, true); err != nil {
		return nil, err
	}
	switch {
	case content.Environment != nil:
		if err := required(field{"subject.content.environment.id", content.Environment.ID}); err != nil {
			return nil, err
		}
		c.Environment = content.Environment.ID
	case predicate != "published":
		return nil, refuse(ReasonMissing, "subject.content.environment is required")
	}
	switch predicate {
	case "deployed", "upgraded", "rolledback":
		if err := required(field{"subject.content.artifactId", content.ArtifactID}); err != nil {
			return nil, err
		}
	default:
		if content.ArtifactID != "" {
			return nil, refuse(ReasonSchema, "subject.content.artifactId does not belong to service.%s", predicate)
		}
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
	if err := decode(subject.Content, &content, true); err != nil {
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
