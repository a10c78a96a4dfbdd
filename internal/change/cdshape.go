// SPDX-License-Identifier: Apache-2.0

package change

import (
	"cmp"
	"maps"
)

// Shapes of CDEvents, after the specification's schemas of 0.4 and 0.5. tests/peers/cdevents compares them with the published files.
var (
	cdText = &shape{kind: text}
	cdRef  = &shape{kind: uriReference}

	cdFrom  = &shape{kind: object, open: true, required: []string{"contextId"}, members: map[string]*shape{"contextId": cdText}}
	cdTo    = &shape{kind: object, open: true, members: map[string]*shape{"contextId": cdText}}
	cdTags  = &shape{kind: object, open: true}
	cdLinks = &shape{kind: array, items: &shape{kind: object, byMember: "linkType", shapes: map[string]*shape{
		"PATH":     cdLink(map[string]*shape{"from": cdFrom}, []string{"from"}),
		"END":      cdLink(map[string]*shape{"from": cdFrom}, nil),
		"RELATION": cdLink(map[string]*shape{"linkKind": cdText, "target": cdTo}, []string{"linkKind", "target"}),
	}}}

	cdReferenceShape = &shape{kind: object, required: []string{"id"}, members: map[string]*shape{"id": cdText, "source": cdRef}}
	cdAnyText        = &shape{kind: text, blank: true}
)

// cdLink is the shape of a link with the members that its type adds.
func cdLink(members map[string]*shape, required []string) *shape {
	all := map[string]*shape{"linkType": cdText, "tags": cdTags}
	maps.Copy(all, members)
	return &shape{kind: object, members: all, required: required}
}

// cdContents are the shapes of the content of those events that are changes. The content of others is not read.
var cdContents = map[string]*shape{
	"service.deployed":     cdDelivered,
	"service.upgraded":     cdDelivered,
	"service.rolledback":   cdDelivered,
	"service.removed":      {kind: object, members: map[string]*shape{"environment": cdReferenceShape}},
	"service.published":    {kind: object, members: map[string]*shape{"environment": cdReferenceShape}},
	"environment.created":  {kind: object, members: map[string]*shape{"name": cdAnyText, "uri": {kind: uri}}},
	"environment.modified": {kind: object, members: map[string]*shape{"name": cdAnyText, "uri": {kind: uri}}},
	"environment.deleted":  {kind: object, members: map[string]*shape{"name": cdAnyText}},
}

// cdOldPlace is the content of environment.created and environment.modified in 0.4.
var cdOldPlace = &shape{kind: object, members: map[string]*shape{"name": cdAnyText, "url": cdAnyText}}

var (
	cdDelivered = &shape{kind: object, required: []string{"environment", "artifactId"}, members: map[string]*shape{
		"environment": cdReferenceShape, "artifactId": cdText,
	}}
	cdOther = &shape{kind: object, open: true}
)

// cdSubjectTypes are the names of subjects as 0.4 spells them in the subject's type, where that is not as in the type of the event.
var cdSubjectTypes = map[string]string{
	"pipelinerun": "pipelineRun", "taskrun": "taskRun", "testcaserun": "testCaseRun", "testsuiterun": "testSuiteRun", "testoutput": "testOutput",
}

// cdShape returns the shape of an event of a subject and predicate. Version 0.4 tells its version and the type of the subject under
// names that later ones gave up.
func cdShape(old bool, subject, predicate string) *shape {
	content, ok := cdContents[subject+"."+predicate]
	if !ok {
		content = cdOther
	}
	version := "specversion"
	about := &shape{kind: object, required: []string{"id", "content"}, members: map[string]*shape{"id": cdText, "source": cdRef, "content": content}}
	if subject == "ticket" {
		about.members["type"] = &shape{kind: text, words: []string{subject}} // the schema of ticket.closed 0.5 still has it
	}
	if old {
		if subject == "environment" && predicate != "deleted" {
			about.members["content"] = cdOldPlace
		}
		version = "version"
		about.required = append(about.required, "type")
		about.members["type"] = &shape{kind: text, words: []string{cmp.Or(cdSubjectTypes[subject], subject)}}
	}
	return &shape{kind: object, required: []string{"context", "subject"}, members: map[string]*shape{
		"context": {kind: object, required: []string{version, "id", "source", "type", "timestamp"}, members: map[string]*shape{
			version: cdText, "id": cdText, "source": cdRef, "type": cdText, "timestamp": {kind: timestamp},
			"schemaUri": {kind: uri}, "chainId": cdText, "links": cdLinks,
		}},
		"subject": about, "customData": {kind: objectOrBase64}, "customDataContentType": cdAnyText,
	}}
}
