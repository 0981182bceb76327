"""The words that a charter's documents add to its text."""

from typing import NamedTuple

from core.contracts.scoping import Resolution
from core.contracts.scoping_charter import CHARTER, Decision, SectionId
from core.documents.labels import Language, language


class CharterLabels(NamedTuple):
    """The words of one language."""

    language: Language
    charter: str
    view: str
    go: str
    go_with_conditions: str
    no_go: str
    reasons: str
    conditions: str
    open_risks: str
    no_risks: str
    assumptions: str
    assumption: str
    vague: str
    contradiction: str
    kind: str
    risk: str
    rests_on: str
    findings: str
    answers: str
    appendix: str
    stage: str
    skipped: str
    added: str
    this_holds: str
    """How a contradiction was settled, with `{}` for the reference to the other answer."""
    other_holds: str
    neither_holds: str
    legend: str
    """How a reference reads, and what its mark means."""
    sign_off: str
    signed: str
    """What is signed, with `{}` for the fingerprint."""
    sponsor: str
    lead: str
    name: str
    date: str
    signature: str
    fingerprint: str

    def decision(self, decision: Decision) -> str:
        """The view in words."""
        return str(getattr(self, decision.value))

    def section(self, id: SectionId) -> str:
        """The title of a section."""
        return _SECTIONS[self.language.code][id]

    def settled(self, word: Resolution, other: str) -> str:
        """How a contradiction was settled. `other`: the reference to the other answer."""
        return {"this": self.this_holds, "other": self.other_holds}.get(word.holds, self.neither_holds).format(other)

    def risk_kind(self, kind: str) -> str:
        """What sort of open risk it is."""
        return {"assumption": self.assumption, "vague": self.vague}.get(kind, self.contradiction)


def charter_labels(tag: str) -> CharterLabels:
    """The words for a charter in this language; the English ones where we have none."""
    code = language(tag).code
    code = code if code in _WORDS else "en"
    return CharterLabels(language(code), *_WORDS[code])


_WORDS = {
    "en": (
        "Project charter",
        "The view",
        "Go",
        "Go, with conditions",
        "No go",
        "Reasons",
        "Conditions",
        "Open risks",
        "None is known.",
        "Assumptions",
        "Assumption",
        "Vague",
        "Contradiction",
        "Kind",
        "What is open",
        "Rests on",
        "Findings",
        "Questions and answers",
        "Appendix",
        "Stage",
        "Nobody could say: what rests on this is an assumption.",
        "Added",
        "Settled: this answer holds, and not {}.",
        "Settled: this answer does not hold; {} does.",
        "Settled: neither this answer nor {} holds as it stands.",
        "[2.3] is the third question of stage 2; the appendix has it with its answer. An asterisk marks an assumption: "
        "nobody could say, or the answer stayed vague.",
        "Sign-off",
        "Signed is the charter whose JSON file has the SHA-256 {}.",
        "Sponsor",
        "Project lead",
        "Name",
        "Date",
        "Signature",
        "Fingerprint",
    ),
    "de": (
        "Projektauftrag",
        "Die Empfehlung",
        "Go",
        "Go mit Bedingungen",
        "No-Go",
        "Gründe",
        "Bedingungen",
        "Offene Risiken",
        "Keine bekannt.",
        "Annahmen",
        "Annahme",
        "Vage",
        "Widerspruch",
        "Art",
        "Was offen ist",
        "Beruht auf",
        "Ergebnisse",
        "Fragen und Antworten",
        "Anhang",
        "Stufe",
        "Niemand konnte es sagen: Was darauf beruht, ist eine Annahme.",
        "Ergänzt",
        "Geklärt: Diese Antwort gilt, nicht {}.",
        "Geklärt: Nicht diese Antwort gilt, sondern {}.",
        "Geklärt: Weder diese Antwort noch {} gilt so, wie sie dasteht.",
        "[2.3] ist die dritte Frage der Stufe 2; sie steht mit ihrer Antwort im Anhang. Ein Stern bezeichnet eine "
        "Annahme: Niemand konnte es sagen, oder die Antwort blieb vage.",
        "Freigabe",
        "Unterschrieben wird der Auftrag, dessen JSON-Datei den SHA-256 {} hat.",
        "Auftraggeber",
        "Projektleitung",
        "Name",
        "Datum",
        "Unterschrift",
        "Fingerabdruck",
    ),
    "fr": (
        "Charte de projet",
        "L’avis",
        "Feu vert",
        "Feu vert sous conditions",
        "Feu rouge",
        "Raisons",
        "Conditions",
        "Risques ouverts",
        "Aucun n’est connu.",
        "Hypothèses",
        "Hypothèse",
        "Vague",
        "Contradiction",
        "Genre",
        "Ce qui reste ouvert",
        "Repose sur",
        "Constats",
        "Questions et réponses",
        "Annexe",
        "Étape",
        "Personne n’a pu le dire : ce qui en dépend est une hypothèse.",
        "Ajouté",
        "Réglé : cette réponse vaut, et non {}.",
        "Réglé : cette réponse ne vaut pas ; {} vaut.",
        "Réglé : ni cette réponse ni {} ne valent telles quelles.",
        "[2.3] est la troisième question de l’étape 2 ; elle figure en annexe avec sa réponse. Un astérisque marque "
        "une hypothèse : personne n’a pu le dire, ou la réponse est restée vague.",
        "Approbation",
        "Est signée la charte dont le fichier JSON a le SHA-256 {}.",
        "Commanditaire",
        "Chef de projet",
        "Nom",
        "Date",
        "Signature",
        "Empreinte",
    ),
    "es": (
        "Acta del proyecto",
        "La recomendación",
        "Adelante",
        "Adelante, con condiciones",
        "No seguir",
        "Razones",
        "Condiciones",
        "Riesgos abiertos",
        "No se conoce ninguno.",
        "Supuestos",
        "Supuesto",
        "Vago",
        "Contradicción",
        "Tipo",
        "Qué queda abierto",
        "Se apoya en",
        "Hallazgos",
        "Preguntas y respuestas",
        "Anexo",
        "Etapa",
        "Nadie pudo decirlo: lo que se apoya en esto es un supuesto.",
        "Añadido",
        "Aclarado: vale esta respuesta, y no {}.",
        "Aclarado: no vale esta respuesta, sino {}.",
        "Aclarado: ni esta respuesta ni {} valen tal como están.",
        "[2.3] es la tercera pregunta de la etapa 2; está en el anexo con su respuesta. Un asterisco señala un "
        "supuesto: nadie pudo decirlo, o la respuesta quedó vaga.",
        "Aprobación",
        "Se firma el acta cuyo archivo JSON tiene el SHA-256 {}.",
        "Patrocinador",
        "Responsable del proyecto",
        "Nombre",
        "Fecha",
        "Firma",
        "Huella",
    ),
    "it": (
        "Mandato di progetto",
        "Il parere",
        "Si procede",
        "Si procede, a condizioni",
        "Non si procede",
        "Ragioni",
        "Condizioni",
        "Rischi aperti",
        "Nessuno è noto.",
        "Ipotesi",
        "Ipotesi",
        "Vago",
        "Contraddizione",
        "Tipo",
        "Che cosa resta aperto",
        "Si basa su",
        "Risultati",
        "Domande e risposte",
        "Appendice",
        "Fase",
        "Nessuno ha saputo dirlo: ciò che ne dipende è un’ipotesi.",
        "Aggiunto",
        "Chiarito: vale questa risposta, e non {}.",
        "Chiarito: non vale questa risposta, ma {}.",
        "Chiarito: né questa risposta né {} valgono così come sono.",
        "[2.3] è la terza domanda della fase 2; è in appendice con la sua risposta. Un asterisco segna un’ipotesi: "
        "nessuno ha saputo dirlo, o la risposta è rimasta vaga.",
        "Approvazione",
        "Si firma il mandato il cui file JSON ha lo SHA-256 {}.",
        "Committente",
        "Responsabile del progetto",
        "Nome",
        "Data",
        "Firma",
        "Impronta",
    ),
    "pt": (
        "Termo de abertura do projeto",
        "A recomendação",
        "Avançar",
        "Avançar, com condições",
        "Não avançar",
        "Razões",
        "Condições",
        "Riscos em aberto",
        "Nenhum é conhecido.",
        "Suposições",
        "Suposição",
        "Vago",
        "Contradição",
        "Tipo",
        "O que está em aberto",
        "Apoia-se em",
        "Constatações",
        "Perguntas e respostas",
        "Anexo",
        "Etapa",
        "Ninguém soube dizer: o que se apoia nisto é uma suposição.",
        "Acrescentado",
        "Esclarecido: vale esta resposta, e não {}.",
        "Esclarecido: não vale esta resposta, mas sim {}.",
        "Esclarecido: nem esta resposta nem {} valem tal como estão.",
        "[2.3] é a terceira pergunta da etapa 2; está no anexo com a sua resposta. Um asterisco marca uma suposição: "
        "ninguém soube dizer, ou a resposta ficou vaga.",
        "Aprovação",
        "Assina-se o termo cujo ficheiro JSON tem o SHA-256 {}.",
        "Patrocinador",
        "Líder do projeto",
        "Nome",
        "Data",
        "Assinatura",
        "Impressão digital",
    ),
}

_SECTIONS: dict[str, dict[SectionId, str]] = {
    "en": {id: plan.title for id, plan in CHARTER.items()},
    "de": {
        SectionId.SUMMARY: "Zusammenfassung",
        SectionId.PROBLEM: "Das Problem",
        SectionId.VALUE: "Nutzen und Erfolgsmaße",
        SectionId.DATA: "Daten",
        SectionId.USERS: "Nutzer und Arbeitsablauf",
        SectionId.RISK: "Risiken, Ethik und Verantwortung",
        SectionId.PLAN: "Erste Schritte",
        SectionId.DECISION: "Go oder No-Go",
    },
    "fr": {
        SectionId.SUMMARY: "Résumé",
        SectionId.PROBLEM: "Le problème",
        SectionId.VALUE: "Valeur et mesures du succès",
        SectionId.DATA: "Données",
        SectionId.USERS: "Utilisateurs et déroulement du travail",
        SectionId.RISK: "Risques, éthique et gouvernance",
        SectionId.PLAN: "Premiers pas",
        SectionId.DECISION: "Feu vert ou feu rouge",
    },
    "es": {
        SectionId.SUMMARY: "Resumen",
        SectionId.PROBLEM: "El problema",
        SectionId.VALUE: "Valor y medidas del éxito",
        SectionId.DATA: "Datos",
        SectionId.USERS: "Usuarios y flujo de trabajo",
        SectionId.RISK: "Riesgos, ética y gobernanza",
        SectionId.PLAN: "Primeros pasos",
        SectionId.DECISION: "Seguir o no seguir",
    },
    "it": {
        SectionId.SUMMARY: "Sintesi",
        SectionId.PROBLEM: "Il problema",
        SectionId.VALUE: "Valore e misure del successo",
        SectionId.DATA: "Dati",
        SectionId.USERS: "Utenti e flusso di lavoro",
        SectionId.RISK: "Rischi, etica e governance",
        SectionId.PLAN: "Primi passi",
        SectionId.DECISION: "Procedere o no",
    },
    "pt": {
        SectionId.SUMMARY: "Resumo",
        SectionId.PROBLEM: "O problema",
        SectionId.VALUE: "Valor e medidas de sucesso",
        SectionId.DATA: "Dados",
        SectionId.USERS: "Utilizadores e fluxo de trabalho",
        SectionId.RISK: "Riscos, ética e governação",
        SectionId.PLAN: "Primeiros passos",
        SectionId.DECISION: "Avançar ou não",
    },
}
