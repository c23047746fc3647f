package schema

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

type tree struct {
	Value    int     `json:"value" doc:"what it weighs"`
	Children []tree  `json:"children,omitempty"`
	Parent   *branch `json:"parent"`
}

type branch struct {
	Tree tree
	Next *branch
}

type base struct {
	ID uint8 `json:"id"`
}

type page[T any] struct {
	base
	Items  []T               `json:"items"`
	At     time.Time         `json:"at"`
	Data   []byte            `json:"data"`
	Any    any               `json:"any"`
	Raw    json.RawMessage   `json:"raw"`
	Texts  map[string]string `json:"texts"`
	Two    [2]bool           `json:"two"`
	Quoted int               `json:"quoted,string"`
	Hidden string            `json:"-"`
	hidden string
}

func check(t *testing.T, of reflect.Type, expected string) {
	t.Helper()
	var made, wanted map[string]any
	if err := json.Unmarshal([]byte(Of(of)), &made); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(expected), &wanted); err != nil {
		t.Fatal(err)
	}
	delete(made, "$schema")
	if !reflect.DeepEqual(made, wanted) {
		t.Errorf("schema of %s:\n%s\nexpected:\n%s", of, Of(of), expected)
	}
}

func TestATypeThatContainsItselfRefersToItself(t *testing.T) {
	check(t, reflect.TypeFor[tree](), `{
		"title": "tree", "type": "object", "required": ["value"],
		"properties": {
			"value": {"type": "integer", "description": "what it weighs"},
			"children": {"type": ["array", "null"], "items": {"$ref": "#"}},
			"parent": {"anyOf": [{"$ref": "#/$defs/branch"}, {"type": "null"}]}
		},
		"$defs": {"branch": {
			"type": "object", "required": ["Tree"],
			"properties": {
				"Tree": {"$ref": "#"},
				"Next": {"anyOf": [{"$ref": "#/$defs/branch"}, {"type": "null"}]}
			}
		}}
	}`)
}

func TestEveryKindOfField(t *testing.T) {
	check(t, reflect.TypeFor[*page[base]](), `{
		"title": "pageBase", "type": "object",
		"required": ["id", "items", "at", "data", "any", "raw", "texts", "two", "quoted"],
		"properties": {
			"id": {"type": "integer", "minimum": 0},
			"items": {"type": ["array", "null"], "items": {"$ref": "#/$defs/base"}},
			"at": {"type": "string", "format": "date-time"},
			"data": {"type": "string", "contentEncoding": "base64"},
			"any": {}, "raw": {},
			"texts": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
			"two": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2},
			"quoted": {"type": "string"}
		},
		"$defs": {"base": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer", "minimum": 0}}}}
	}`)
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		of       reflect.Type
		expected string
	}{
		{nil, ""},
		{reflect.TypeFor[struct{}](), ""},
		{reflect.TypeFor[[]byte](), "Octets"},
		{reflect.TypeFor[*tree](), "tree"},
		{reflect.TypeFor[[]tree](), "ListOfTree"},
		{reflect.TypeFor[map[string]int](), "MapOfInt"},
		{reflect.TypeFor[page[tree]](), "pageTree"},
		{reflect.TypeFor[struct{ A int }](), "Value"},
	} {
		if name := Name(c.of); name != c.expected {
			t.Errorf("%v is called %q, expected %q", c.of, name, c.expected)
		}
	}
}
