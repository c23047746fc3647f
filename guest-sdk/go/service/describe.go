package service

import (
	"postern.dev/postern/internal/schema"
)

// Description is a method as `describe` tells it.
type Description struct {
	Name, Summary     string
	Shape             Shape
	Request, Response string
	Idempotent        bool
}

// Schema is the JSON Schema (2020-12) of a type that a method takes or gives.
type Schema struct {
	Name, JSON string
}

// Describe tells the service's methods in the order in which they were added.
func (s *Service) Describe() []Description {
	descriptions := make([]Description, len(s.Methods))
	for i, m := range s.Methods {
		descriptions[i] = Description{
			Name:       m.Name,
			Summary:    m.Summary,
			Shape:      m.Shape,
			Request:    schema.Name(m.Request),
			Response:   schema.Name(m.Response),
			Idempotent: m.Idempotent,
		}
	}
	return descriptions
}

// Schemas are those of all types that methods of the plugin take and give, in the order of the methods. Two
// types of one name have the schema of the first.
func Schemas() []Schema {
	var schemas []Schema
	known := map[string]bool{}
	for _, s := range offered {
		for _, m := range s.Methods {
			for _, t := range [...]schema.Type{m.Request, m.Response} {
				name := schema.Name(t)
				if !schema.Has(t) || known[name] {
					continue
				}
				known[name] = true
				schemas = append(schemas, Schema{Name: name, JSON: schema.Of(t)})
			}
		}
	}
	return schemas
}
