// SPDX-License-Identifier: Apache-2.0

// Package openslo reads documents of the OpenSLO v1 specification (github.com/OpenSLO/OpenSLO) and turns their SLOs into objectives.
//
// It is strict: what a document says and the specification does not know is refused with its file, its line and the reason, and so is what
// contradicts itself. What the specification leaves open and has one sensible reading is read so, with a warning.
package openslo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	apiVersion = "openslo/v1"
	// MaxBytes and maxDocuments bound what is read of a source.
	MaxBytes       = 4 << 20
	maxDocuments   = 10_000
	maxDescription = 1050
	maxName        = 253
)

// Kinds of the specification.
const (
	kindDataSource = "DataSource"
	kindService    = "Service"
	kindSLO        = "SLO"
	kindSLI        = "SLI"
	kindPolicy     = "AlertPolicy"
	kindCondition  = "AlertCondition"
	kindTarget     = "AlertNotificationTarget"
)

var kinds = []string{kindDataSource, kindSLO, kindSLI, kindPolicy, kindCondition, kindTarget, kindService}

// Source is a text with documents, and the name it is known by.
type Source struct {
	Name string
	Text []byte
}

// Position is where in a source something stands.
type Position struct {
	File string
	Line int
}

func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Problem is what is wrong with a document, or odd about it.
type Problem struct {
	Position
	// Kind and Name are those of the document; empty where it has none.
	Kind, Name string
	Reason     string
}

// Error names the file, the line, the document and the reason.
func (p Problem) Error() string {
	if p.Kind == "" && p.Name == "" {
		return fmt.Sprintf("%s: %s", p.Position, p.Reason)
	}
	return fmt.Sprintf("%s: %s: %s", p.Position, strings.TrimSpace(p.Kind+" "+p.Name), p.Reason)
}

// Document is one YAML document of a source.
type Document struct {
	Position
	Node *yaml.Node
}

// Has reports whether the document is a mapping with a key.
func (d Document) Has(key string) bool {
	return d.Node.Kind == yaml.MappingNode && slices.ContainsFunc(keysOf(d.Node), func(k *yaml.Node) bool { return k.Value == key })
}

func keysOf(n *yaml.Node) []*yaml.Node {
	var keys []*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		keys = append(keys, n.Content[i])
	}
	return keys
}

// Split parses the documents of a source. Empty ones are left out.
func Split(s Source) ([]Document, error) {
	if len(s.Text) > MaxBytes {
		return nil, Problem{Position: Position{s.Name, 1}, Reason: fmt.Sprintf("a file may hold up to %d MiB (got %d bytes)", MaxBytes>>20, len(s.Text))}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(s.Text))
	var out []Document
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, Problem{Position: Position{s.Name, lineOf(err)}, Reason: cut(err.Error())}
		case len(out) == maxDocuments:
			return nil, Problem{Position: Position{s.Name, node.Line}, Reason: fmt.Sprintf("a file may hold up to %d documents", maxDocuments)}
		}
		if len(node.Content) == 1 && node.Content[0].Tag != "!!null" {
			out = append(out, Document{Position{s.Name, node.Content[0].Line}, node.Content[0]})
		}
	}
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// lineOf reads the line out of a syntax error; the parser offers it in no other form.
func lineOf(err error) int {
	line := 1
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		_, _ = fmt.Sscan(m[1], &line)
	}
	return line
}

// header is what every document has.
type header struct {
	Position
	kind, name, display string
	annotations         map[string]string
	spec                *yaml.Node
}

var (
	labelKey         = regexp.MustCompile(`^[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$`)
	annotationPrefix = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// header reads apiVersion, kind, metadata and spec. An inlined document may leave apiVersion and kind out.
func (r *reader) header(d Document, inlined string) header {
	h := header{Position: d.Position, kind: inlined}
	r.kind, r.name, r.line = inlined, "", d.Line
	keys := []string{"apiVersion", "kind", "metadata", "spec"}
	o := r.object(d.Node, "", keys...)
	switch kind := o.text("kind", inlined == ""); {
	case inlined != "" && kind != "" && kind != inlined:
		o.fault("kind", "must be %s here (got %q)", inlined, kind)
	case kind != "" && !slices.Contains(kinds, kind):
		o.fault("kind", "%s knows the kinds %s (got %q)", apiVersion, strings.Join(kinds, ", "), kind)
	case kind != "":
		h.kind = kind
	}
	r.kind = h.kind
	meta := o.object("metadata", true, "name", "displayName", "labels", "annotations")
	h.name, h.display = meta.text("name", true), meta.text("displayName", false)
	if len(h.name) > maxName || strings.ContainsAny(h.name, " \t\n\"") {
		meta.fault("name", "must be a word of up to %d characters (got %q)", maxName, h.name)
	}
	r.name = h.name
	if version := o.text("apiVersion", inlined == ""); version != "" && version != apiVersion {
		o.fault("apiVersion", "must be %s (got %q)", apiVersion, version)
	}
	r.labels(meta)
	h.annotations = r.annotations(meta)
	h.spec = o.required("spec")
	return h
}

func (r *reader) labels(meta object) {
	labels := meta.free("labels")
	for key, value := range labels.fields {
		if !labelKey.MatchString(key) {
			labels.fault(key, "a label's key has up to 63 letters, digits, dashes, underscores and dots (got %q)", key)
		}
		for _, v := range listOf(value) {
			if v.Kind != yaml.ScalarNode {
				labels.fault(key, "a label's value is a string or a list of strings")
			}
		}
	}
}

func (r *reader) annotations(meta object) map[string]string {
	out := map[string]string{}
	annotations := meta.free("annotations")
	for key, value := range annotations.fields {
		prefix, name, found := strings.Cut(key, "/")
		if !found {
			prefix, name = "", key
		}
		if !labelKey.MatchString(name) || found && (len(prefix) > 253 || !annotationPrefix.MatchString(prefix)) {
			annotations.fault(key, "an annotation's key is a name of up to 63 characters, after an optional DNS subdomain and a slash (got %q)", key)
		}
		if value.Kind != yaml.ScalarNode {
			annotations.fault(key, "an annotation's value is a string")
			continue
		}
		out[key] = value.Value
	}
	return out
}

// listOf is a list's items, or the one thing that stands in its place.
func listOf(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}
