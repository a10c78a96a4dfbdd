// SPDX-License-Identifier: Apache-2.0

package change

import (
	"maps"
	"regexp"
	"strings"
)

// plainForm is what a person or a script sends.
type plainForm struct {
	Kind        string            `json:"kind"`
	ID          string            `json:"id"`
	Service     string            `json:"service"`
	Namespace   string            `json:"namespace"`
	Version     string            `json:"version"`
	Environment string            `json:"environment"`
	Time        string            `json:"time"`
	Action      string            `json:"action"`
	State       string            `json:"state"`
	Message     string            `json:"message"`
	URL         string            `json:"url"`
	Repository  string            `json:"repository"`
	Revision    string            `json:"revision"`
	SignalID    string            `json:"signal_id"`
	Flag        *plainFlag        `json:"flag"`
	Attributes  map[string]string `json:"attributes"`
}

type plainFlag struct {
	Key      string `json:"key"`
	Variant  string `json:"variant"`
	Set      string `json:"set"`
	Provider string `json:"provider"`
}

var attributeName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$`)

var plainActions = map[Kind]string{Deployment: "deploy", FeatureFlag: "flip", Configuration: "modify"}

// Plain reads the plain JSON form. Without an id and a time every request is a change of its own.
func Plain(body []byte) ([]Message, error) { return plain(body, "") }

func plain(body []byte, kind Kind) ([]Message, error) {
	var form plainForm
	if err := decode(body, &form, true); err != nil {
		return nil, err
	}
	given := Kind(form.Kind)
	if given != "" && !strings.HasPrefix(form.Kind, "change.") {
		given = Kind("change." + form.Kind)
	}
	switch {
	case kind == "":
		kind = given
	case given != "" && given != kind:
		return nil, refuse(ReasonMismatch, "kind %q is not the event's type %q", clip(form.Kind, 64), kind)
	}
	if plainActions[kind] == "" {
		return nil, refuse(ReasonUnknownType, "kind %q is not deployment, feature_flag or configuration", clip(form.Kind, 64))
	}
	c := Change{
		Kind: kind, ID: form.ID, Tool: "plain", Action: form.Action, State: State(form.State), Service: form.Service, Namespace: form.Namespace,
		Version: form.Version, Environment: form.Environment, Message: form.Message, SignalID: form.SignalID, Attributes: map[string]string{},
	}
	if err := form.check(&c); err != nil {
		return nil, err
	}
	maps.Copy(c.Attributes, form.Attributes)
	c.Attributes["change.url"], c.Attributes["vcs.repository.url.full"], c.Attributes["vcs.ref.head.revision"] = form.URL, form.Repository, form.Revision
	if form.Flag != nil {
		c.Attributes["feature_flag.key"], c.Attributes["feature_flag.result.variant"] = form.Flag.Key, form.Flag.Variant
		c.Attributes["feature_flag.set.id"], c.Attributes["feature_flag.provider.name"] = form.Flag.Set, form.Flag.Provider
	}
	if c.ID == "" && form.Time != "" {
		c.ID = digest("plain", string(body))
	}
	c.finish()
	if c.ID == "" {
		c.Key = ""
	}
	return []Message{{Change: c}}, nil
}

// check refuses what the form may not hold, and fills in what it leaves to defaults.
func (f *plainForm) check(c *Change) error {
	switch c.State {
	case "":
		c.State = Succeeded
	case Planned, Started, Succeeded, Failed:
	default:
		return refuse(ReasonInvalid, "state %q is not planned, started, succeeded or failed", clip(f.State, 64))
	}
	if c.Action == "" {
		c.Action = plainActions[c.Kind]
	}
	if f.Time != "" {
		at, err := parseTime("time", f.Time)
		if err != nil {
			return err
		}
		c.Time = at
	}
	if c.Kind == FeatureFlag && (f.Flag == nil || f.Flag.Key == "") {
		return refuse(ReasonMissing, "flag.key must not be empty")
	}
	if c.Kind == Deployment && f.Service == "" {
		return refuse(ReasonMissing, "service must not be empty")
	}
	if len(f.Attributes) > maxAttributes {
		return refuse(ReasonInvalid, "%d attributes, at most %d", len(f.Attributes), maxAttributes)
	}
	for name := range f.Attributes {
		if len(name) > 128 || !attributeName.MatchString(name) || strings.HasPrefix(name, "change.") {
			return refuse(ReasonInvalid, "attribute name %q is not lower_snake.case, or reserved", clip(name, 64))
		}
	}
	return nil
}
